"""The frames of HTTP/2 (RFC 9113) that a gRPC server reads and writes, and the codes of its errors."""

from __future__ import annotations

import struct
from enum import IntEnum

__all__ = [
    "ACK", "END_HEADERS", "END_STREAM", "FRAME_HEADER", "LARGEST_WINDOW", "PADDED", "PREFACE", "PRIORITY", "Code",
    "ConnectionError_", "Kind", "Setting", "frame", "go_away", "reset", "settings", "window_update",
]  # fmt: skip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER = 9
LARGEST_WINDOW = (1 << 31) - 1

ACK, END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20


class Kind(IntEnum):
    """Frames, section 6."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Setting(IntEnum):
    """Section 6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class Code(IntEnum):
    """Why a stream or a connection ends, section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ConnectionError_(Exception):
    """The peer broke the rules; the connection ends with ``code``."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        super().__init__(text)


def frame(kind: Kind, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def settings(values: dict[Setting, int]) -> bytes:
    """SETTINGS."""
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """WINDOW_UPDATE; stream 0 for the connection."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


def reset(stream: int, code: Code) -> bytes:
    """RST_STREAM."""
    return frame(Kind.RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def go_away(last: int, code: Code, text: str = "") -> bytes:
    """GOAWAY: streams above ``last`` have not been looked at."""
    return frame(Kind.GOAWAY, 0, 0, struct.pack(">II", last, code) + text.encode())
