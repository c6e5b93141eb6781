"""JSON that strangers have written."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError

__all__ = ["MOST_JSON_BYTES", "base64_bytes", "numbers", "parse_object", "strings", "write_json"]

MOST_JSON_BYTES = 8 << 20
"""Of text in one request. Python makes an object of each number, 16 times the size of the text at the worst."""


def parse_object(data: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The object in ``data``.

    Raises:
        TensorError: there is none, or it is too large.
    """
    if len(data) > MOST_JSON_BYTES:
        raise TensorError(
            f"{len(data)} bytes of JSON; the limit is {MOST_JSON_BYTES}: send image files, or tensors in binary"
        )
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise TensorError("the body is not JSON") from None
    if not isinstance(value, dict):
        raise TensorError("the body is no JSON object")
    return value


def numbers(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array of ``dtype`` in nested lists of numbers, or of true and false for bool.

    Raises:
        TensorError: they are ragged, hold something else, or numbers that the dtype has not.
    """
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, RecursionError):
        raise TensorError("the numbers are no array: its rows have different lengths") from None
    if array.dtype.kind not in {"b": "b", "f": "iuf"}.get(dtype.kind, "iu") and array.size:
        raise TensorError(f"the values are no {dtype.name} numbers")
    if dtype.kind in "iu" and array.size:
        bounds = np.iinfo(dtype)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise TensorError(f"a value is outside {bounds.min} to {bounds.max}, the range of {dtype.name}")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def strings(values: Sequence[Any]) -> NDArray[Any]:
    """Byte strings: of ``{"b64": ...}`` what it stands for, of text its UTF-8.

    Raises:
        TensorError: something else is among them.
    """
    found = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        if isinstance(value, Mapping) and set(value) == {"b64"}:
            found[index] = base64_bytes(value["b64"])
        elif isinstance(value, str):
            found[index] = value.encode(errors="replace")
        else:
            raise TensorError("byte strings are text or {'b64': TEXT}; these hold something else")
    return found


def base64_bytes(text: Any) -> bytes:
    """What ``text`` stands for.

    Raises:
        TensorError: it is no base64.
    """
    if not isinstance(text, str):
        raise TensorError("base64 is text; this is something else")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise TensorError("a text is no base64 (RFC 4648, section 4)") from None


def write_json(value: Any) -> bytes:
    """``value`` as JSON in a line; NaN and infinities as JavaScript writes them."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
