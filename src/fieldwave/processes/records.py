"""Records in JSON files: dataclasses of plain values, checked as they are read, replaced whole."""

from __future__ import annotations

import dataclasses
import functools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from fieldwave.errors import StorageError
from fieldwave.files import write_atomically

__all__ = ["now", "read", "write"]

_Record = TypeVar("_Record")


def now() -> str:
    """The time, as the files have it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(path: Path, record: Any) -> None:
    """Write a dataclass; a reader sees the record before or this one. Raises StorageError."""
    write_atomically(path, json.dumps(dataclasses.asdict(record), indent=2).encode() + b"\n")


def read(kind: type[_Record], path: Path, advice: str) -> _Record:
    """The record in a file; ``advice`` is what to do where it is damaged.

    Keys that are not known here were written by a newer Fieldwave and are left alone.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be read, or is damaged.
    """
    try:
        record: _Record = _record(kind, json.loads(path.read_bytes()))
        return record
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is damaged; {advice}") from error


def _record(kind: Any, content: Any) -> Any:
    hints = _hints(kind)
    known = {key: value for key, value in dict(content).items() if key in hints}
    for key, value in known.items():
        if not _fits(value, hints[key]):
            raise TypeError(key)
    return kind(**known)


@functools.lru_cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if origin is dict:
        key, kept = get_args(hint)
        return isinstance(value, dict) and all(_fits(k, key) and _fits(v, kept) for k, v in value.items())
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float)
    return isinstance(value, hint)
