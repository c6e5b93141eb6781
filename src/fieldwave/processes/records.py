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
    return kind(**{key: _value(value, hints[key]) for key, value in dict(content).items() if key in hints})


@functools.lru_cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(value: Any, hint: Any) -> Any:
    """The value, if it is of that type; TypeError otherwise."""
    origin, inner = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _record(hint, value)
    if origin is list and isinstance(value, list):
        return [_value(item, inner[0]) for item in value]
    if origin is dict and isinstance(value, dict):
        return {_value(key, inner[0]): _value(kept, inner[1]) for key, kept in value.items()}
    if origin is Literal:
        fits = value in inner
    elif origin in (list, dict) or dataclasses.is_dataclass(hint):
        fits = False
    else:
        fits = hint is Any or isinstance(value, int | float if hint is float else hint)
    if not fits:
        raise TypeError(f"{value!r} is no {hint}")
    return value
