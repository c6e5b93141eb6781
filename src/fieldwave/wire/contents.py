"""Taking the raw bytes of large tensors out of a ``PredictRequest`` before protobuf parses it.

Protobuf copies ``tensor_content`` twice, into the message and out of it. For a tensor of 600 kB that is a good
part of what a service adds to the device's time, because the copies go to memory that is in no cache. So the
request is cut: protobuf parses a small message, and the tensors are views of the bytes received.
"""

from __future__ import annotations

from google.protobuf.message import Message

from fieldwave.wire.fields import fields
from fieldwave.wire.messages import PredictRequest
from fieldwave.wire.tensors import CONTENT_TAG, varint

__all__ = ["CUT_BYTES", "parse_request"]

CUT_BYTES = 16 << 10
"""A ``tensor_content`` of at least this size is not copied."""

_INPUTS, _KEY, _VALUE, _CONTENT = 0x12, 0x0A, 0x12, CONTENT_TAG[0]  # tags: field number << 3 | 2, length-delimited


def parse_request(data: bytes, cut_bytes: int = CUT_BYTES) -> tuple[Message, dict[str, memoryview]]:
    """The ``PredictRequest`` in ``data``, and by input name each ``tensor_content`` that was left out of it.

    Parameters:
        cut_bytes: the size from which on a ``tensor_content`` is left out.

    Raises:
        google.protobuf.message.DecodeError: the bytes are no such message.
    """
    if len(data) >= cut_bytes:
        try:
            remainder, contents = _cut(memoryview(data), cut_bytes)
        except (IndexError, ValueError):
            # Anything but the plain form is protobuf's to judge: it decides what a message means.
            pass
        else:
            return PredictRequest.FromString(remainder), contents
    return PredictRequest.FromString(bytes(data)), {}


def _cut(data: memoryview, cut_bytes: int) -> tuple[bytes, dict[str, memoryview]]:
    parts: list[bytes | memoryview] = []
    contents: dict[str, memoryview] = {}
    names: set[str] = set()
    for tag, field, payload in fields(data):
        if tag != _INPUTS:
            parts.append(field)
            continue
        (key_tag, key, name), (value_tag, _, tensor) = fields(payload)
        if (key_tag, value_tag) != (_KEY, _VALUE):
            raise ValueError("an entry without key and value in this order")
        text = str(name, "utf-8")
        if text in names:
            raise ValueError("two entries of one name")
        names.add(text)
        parts_of = list(fields(tensor))
        found = [value for tensor_tag, _, value in parts_of if tensor_tag == _CONTENT]
        if len(found) != 1 or len(found[0]) < cut_bytes:
            parts.append(field)
            continue
        contents[text] = found[0]
        rest = [tensor_field for tensor_tag, tensor_field, _ in parts_of if tensor_tag != _CONTENT]
        size = sum(map(len, rest))
        prefix = varint(size)
        parts += (b"\x12", varint(len(key) + 1 + len(prefix) + size), key, b"\x12", prefix, *rest)
    return b"".join(parts), contents
