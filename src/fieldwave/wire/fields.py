"""Walking over the fields of a serialized message without parsing what is in them."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["fields"]

# More fields in one message than any client writes there: in such numbers they are for protobuf's faster loop.
_MAX_FIELDS = 64


def fields(message: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Tag, the whole field, and the payload, of each field of ``message``; the payload of a number is empty.

    Raises:
        ValueError, IndexError: the message is not of the plain form that clients write; protobuf may read it
            all the same.
    """
    position, end = 0, len(message)
    for _ in range(_MAX_FIELDS):
        if position == end:
            return
        start = position
        tag = message[position]
        kind = tag & 7
        if tag >= 0x80 or tag < 8:
            raise ValueError("no field, or one of a high number")
        position, number = _varint(message, position + 1) if kind in (0, 2) else (position + 1, 0)
        begin = position
        position += {0: 0, 1: 8, 2: number, 5: 4}.get(kind, end)
        if position > end:
            raise ValueError("a field that goes on after the message")
        yield tag, message[start:position], message[begin:position]
    raise ValueError("too many fields")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The position after a varint, and its value."""
    number = shift = 0
    while shift < 64:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return position, number
        shift += 7
    raise ValueError("a number of more than ten bytes")
