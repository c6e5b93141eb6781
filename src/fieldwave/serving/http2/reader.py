"""Bytes into frames: read as far as there is something, and no further than the frame goes.

What is read of a DATA frame goes straight to its message; what belongs to the next frame stays in the system, so
that whichever thread reads next finds it there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import grpc

from fieldwave.serving.http2.frames import (
    END_STREAM,
    FRAME_HEADER,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    Code,
    ConnectionError_,
    Kind,
    Setting,
    settings,
    window_update,
)
from fieldwave.serving.http2.messages import TooLargeError, UnreadableError
from fieldwave.serving.http2.rules import LARGEST_BLOCK, MOST_STREAMS, Rules
from fieldwave.serving.http2.stream import Stream

if TYPE_CHECKING:
    from fieldwave.serving.http2.connection import Connection

__all__ = ["ClosedError", "Reader"]

_LARGEST_FRAME = 4 << 20
_PART_SECONDS = 0.002
"""How long a thread waits for the rest of a frame before it does something else."""
_REPLENISH = 1 << 28

_HELLO = settings(
    {
        Setting.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        Setting.MAX_FRAME_SIZE: _LARGEST_FRAME,
        Setting.MAX_HEADER_LIST_SIZE: LARGEST_BLOCK,
    }
)


class ClosedError(Exception):
    """The peer has gone."""


class Reader:
    """Of one connection; one thread at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rules = Rules(connection)
        self._got = bytearray()
        self._wanted = len(PREFACE)
        self._frame: tuple[int, int, int] | None = None  # kind, flags and stream of the one whose payload comes
        self._left = 0  # bytes of a DATA frame to come
        self._padding = 0
        self._into: Stream | None = None
        self._ends = False
        self._consumed = 0

    @property
    def last(self) -> int:
        """The stream that began last."""
        return self._rules.last

    def receive(self) -> tuple[Stream, memoryview] | None:
        """Read until a message is complete; None when what is there has been read.

        Raises:
            ConnectionError_: the client breaks the rules.
            ClosedError, OSError: it has gone.
        """
        if self._connection.broken:
            self._throw_away()
            return None
        while True:
            try:
                found = self._data() if self._left else self._small()
            except BlockingIOError:
                if not (self._got or self._left) or not self._connection.soon(_PART_SECONDS):
                    return None
                continue
            if found is not None:
                return found

    def _throw_away(self) -> None:
        try:
            if not self._connection.socket.recv(1 << 16):
                raise ClosedError
        except BlockingIOError:
            pass

    def _small(self) -> tuple[Stream, memoryview] | None:
        missing = self._wanted - len(self._got)
        if missing:
            data = self._connection.socket.recv(missing)
            if not data:
                raise ClosedError
            self._connection.heard = time.monotonic()
            if self._got or len(data) < missing:
                self._got += data
                if len(self._got) < self._wanted:
                    if not self._connection.greeted and not PREFACE.startswith(self._got):
                        self._greet(bytes(self._got))
                    return None
                data = bytes(self._got)
        else:
            data = b""
        self._got.clear()
        if not self._connection.greeted:
            self._greet(data)
            self._wanted = FRAME_HEADER
            return None
        if self._frame is None:
            size, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            return self._begin(size, kind, flags, int.from_bytes(data[5:], "big") & LARGEST_WINDOW)
        kind, flags, stream = self._frame
        self._frame, self._wanted = None, FRAME_HEADER
        self._rules.take(kind, flags, stream, data)
        return None

    def _greet(self, data: bytes) -> None:
        if data != PREFACE:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "no HTTP/2")
        self._connection.greeted = True
        first = settings({Setting.INITIAL_WINDOW_SIZE: self._connection.server.largest_message + (1 << 16)})
        with self._connection.lock:
            self._connection.output.control(_HELLO + first + window_update(0, LARGEST_WINDOW - 65_535))

    def _begin(self, size: int, kind: int, flags: int, stream: int) -> tuple[Stream, memoryview] | None:
        if self._rules.block is not None and (kind != Kind.CONTINUATION or stream != self._rules.block[0]):
            raise ConnectionError_(Code.PROTOCOL_ERROR, "headers are not continued")
        if size > (_LARGEST_FRAME if kind == Kind.DATA else LARGEST_BLOCK):
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if kind != Kind.DATA:
            if kind != Kind.HEADERS:
                self._rules.calm()
            if not size:
                self._rules.take(kind, flags, stream, b"")
                return None
            self._frame, self._wanted = (kind, flags, stream), size
            return None
        if stream == 0 or stream > self._rules.last:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "data of no stream")
        self._consume(size)
        self._padding = 0
        if flags & PADDED:
            if not size:
                raise ConnectionError_(Code.FRAME_SIZE_ERROR, "padding without a length")
            self._padding = -1  # its length comes first
        if not size:
            self._rules.calm()
        into = self._connection.streams.get(stream)
        self._into = None if into is None or into.taken or into.over else into
        if into is not None and into.half_closed:
            self._connection.refuse_frames(into, Code.STREAM_CLOSED)
            self._into = None
        self._ends = bool(flags & END_STREAM)
        self._left = size
        if not size:
            self._data_ends(into)
        return None

    def _data(self) -> tuple[Stream, memoryview] | None:
        into = self._into
        useful = self._left - max(self._padding, 0)
        if self._padding < 0:
            length = self._connection.socket.recv(1)
            if not length:
                raise ClosedError
            self._left -= 1
            self._padding = length[0]
            if self._padding > self._left:
                raise ConnectionError_(Code.PROTOCOL_ERROR, "more padding than frame")
            if not self._left:
                self._data_ends(into)
            return None
        found: tuple[Stream, memoryview] | None = None
        if into is None or into.over or into.taken or useful <= 0:
            size = len(self._connection.socket.recv(min(self._left, 1 << 16)))
        else:
            room = into.messages.room(useful)
            size = self._connection.socket.recv_into(room)
            if size:
                found = self._fill(into, room[:size])
        if not size:
            raise ClosedError
        self._connection.heard = time.monotonic()
        self._left -= size
        if not self._left:
            self._data_ends(into)
        return found

    def _fill(self, into: Stream, filled: memoryview) -> tuple[Stream, memoryview] | None:
        try:
            into.messages.add(filled)
            for data, compressed in into.messages.complete():
                self._connection.server.received(into)
                message = self._connection.server.expand(into, data) if compressed else data
                if into.handler.response_streaming:
                    return (into, message) if self._connection.queue(into, message) else None
                into.taken = True
                return into, message
        except TooLargeError as error:
            into.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except UnreadableError as error:
            into.fail(grpc.StatusCode.INTERNAL, str(error))
        return None

    def _data_ends(self, into: Stream | None) -> None:
        if self._ends and into is not None:
            self._rules.half_closed(into)

    def _consume(self, size: int) -> None:
        self._consumed += size
        if self._consumed >= _REPLENISH:
            with self._connection.lock:
                self._connection.output.control(window_update(0, self._consumed))
            self._consumed = 0
