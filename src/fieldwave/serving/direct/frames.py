"""HTTP/2 frames as they are written (RFC 9113), and gRPC's headers and trailers in them.

What a service says in headers is always the same few names, so it is written as literals that no table knows
(RFC 7541, 6.2.2): the other side has nothing to remember, and there is no state here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from urllib.parse import quote

__all__ = [
    "ACK",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "GOAWAY",
    "HEADERS",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PRIORITY_FLAG",
    "PUSH_PROMISE",
    "RST_STREAM",
    "SETTINGS",
    "WINDOW_UPDATE",
    "answer_headers",
    "data_frames",
    "frame",
    "goaway",
    "reset",
    "settings",
    "trailers",
    "trailers_alone",
    "window_update",
]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

_HEAD = struct.Struct(">HBBBI")
_STATUS_200 = b"\x88"  # of the static table
_SHORT = 127


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def data_frames(stream: int, data: memoryview, largest: int) -> list[bytes | memoryview]:
    """``data`` in frames of at most ``largest`` bytes, in parts; none of them ends the stream."""
    parts: list[bytes | memoryview] = []
    for begin in range(0, len(data), largest):
        part = data[begin : begin + largest]
        parts += [_HEAD.pack(len(part) >> 8, len(part) & 0xFF, DATA, 0, stream), part]
    return parts


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """What this side asks of the other."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *value) for value in values))


def window_update(stream: int, size: int) -> bytes:
    """The other side may send so many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream: int, code: int = 0) -> bytes:
    """The end of a stream; nothing more is read of it."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def goaway(last: int, code: int = 0) -> bytes:
    """The end of a connection: streams after ``last`` have not been looked at."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code))


def answer_headers(stream: int) -> bytes:
    """Before an answer."""
    return frame(HEADERS, END_HEADERS, stream, _BEGIN)


def trailers(stream: int, more: Iterable[tuple[str, str]] = ()) -> bytes:
    """After an answer."""
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _WELL + b"".join(_literal(*each) for each in more))


def trailers_alone(stream: int, code: int, text: str) -> bytes:
    """In place of an answer."""
    said = _literal("grpc-status", str(code)) + _literal("grpc-message", quote(text, safe=_UNQUOTED))
    return frame(HEADERS, END_HEADERS | END_STREAM, stream, _BEGIN + said)


def _literal(name: str, value: str) -> bytes:
    """A header that is not indexed, in plain ASCII."""
    texts = [each.encode("ascii", "replace") for each in (name, value)]
    return b"\0" + b"".join(_length(len(text)) + text for text in texts)


def _length(number: int) -> bytes:
    """An integer of RFC 7541, 5.1, with a prefix of seven bits."""
    if number < _SHORT:
        return bytes([number])
    rest, parts = number - _SHORT, bytearray([_SHORT])
    while rest >= 0x80:
        parts.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*parts, rest])


# gRPC over HTTP/2: printable ASCII but for the percent sign stays as it is in grpc-message.
_UNQUOTED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_BEGIN = _STATUS_200 + _literal("content-type", "application/grpc") + _literal("grpc-accept-encoding", "identity")
_WELL = _literal("grpc-status", "0")
