"""Objects as YAML (1.2.2), the form in which people read and keep them, without a library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["to_yaml"]

# What needs no quotes, in YAML 1.1 either: a letter or / first, nothing that could be a mark, no word of its own.
_PLAIN = re.compile(r"[A-Za-z/][-A-Za-z0-9_./@]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def to_yaml(objects: Iterable[dict[str, Any]]) -> str:
    """Documents of mappings, lists, texts, numbers, truth values and None, each after a line ``---``."""
    return "".join("---\n" + "".join(f"{line}\n" for line in _lines(one)) for one in objects)


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(str(key))}:", item, "" if isinstance(item, list) else "  ")
    elif isinstance(value, list | tuple) and value:
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield _scalar(value)


def _entry(key: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, dict | list | tuple) and item:
        yield key
        yield from (f"{indent}{line}" for line in _lines(item))
    else:
        yield f"{key} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # JSON is YAML, but for its pairs of surrogates, which are two characters there.
    return "".join(map(_shown, json.dumps(value, ensure_ascii=False)))


def _shown(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"
