"""Names, times and errors between the two worlds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from fieldwave.compat.azureml.exceptions import AzureMLException
from fieldwave.errors import FieldwaveError

__all__ = ["filters", "native_name", "texts", "time_of", "translated"]


def native_name(name: str) -> str:
    """A name as the registry takes it: in lower case, no two separators side by side."""
    return re.sub(r"([._-])[._-]*", r"\1", name.lower()).strip("._-")


def texts(pairs: Mapping[str, object] | None) -> dict[str, str]:
    """Tags or properties, whose values scripts also give as numbers."""
    return {str(key): str(value) for key, value in (pairs or {}).items()}


def filters(wanted: Sequence[str | Sequence[str]] | None) -> list[str]:
    """``"key"`` and ``["key", "value"]`` as ``key`` and ``key=value``."""
    return [one if isinstance(one, str) else "=".join(map(str, one)) for one in wanted or ()]


def time_of(text: str) -> datetime:
    """A time of RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@contextmanager
def translated(kind: type[AzureMLException]) -> Iterator[None]:
    """Our errors as those that old scripts catch, in the same words."""
    try:
        yield
    except FieldwaveError as error:
        raise kind(str(error)) from error
