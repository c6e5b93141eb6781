"""KEY=VALUE, as tags and properties are given."""

from __future__ import annotations

from collections.abc import Iterable

from fieldwave.errors import InputError

__all__ = ["read_pairs"]


def read_pairs(texts: Iterable[str] | None) -> dict[str, str]:
    """The keys and values. Raises InputError."""
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"{text!r} is no KEY=VALUE")
        found[key] = value
    return found
