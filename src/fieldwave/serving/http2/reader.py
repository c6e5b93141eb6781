"""Bytes into frames: read what there is, and of large messages straight to where they belong.

The first bytes of a turn come through a small buffer, in which a call's headers and the beginning of its message
are one read of the system; the rest of a large message is received into its own memory. What is left in the
buffer when a message is complete is for whichever thread reads next: see `Reader.ready`.
"""

from __future__ import annotations

import struct
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
_CHUNK = 16 << 10
"""Bytes that are read at once where a frame begins; what they hold of a message is copied."""
_PART_SECONDS = 0.002
"""How long a thread waits for the rest of a frame before it does something else."""
_REPLENISH = 1 << 28

_HEADER = struct.Struct(">HBBBI")
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
    """Of one connection; one thread at a time.

    Attributes:
        ready: there are bytes that have been read and not looked at; the system does not tell of them.
    """

    def __init__(self, connection: Connection) -> None:
        self.ready = False
        self._connection = connection
        self._socket = connection.socket
        self._rules = Rules(connection)
        self._got = b""
        self._at = 0  # so many of them have been looked at
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
        self.ready = False
        while True:
            found = self._look()
            if found is not None:
                self.ready = self._at < len(self._got)
                return found
            try:
                found = self._read()
            except BlockingIOError:
                begun = self._at < len(self._got) or self._frame or self._left
                if not begun or not self._connection.soon(_PART_SECONDS):
                    return None
                continue
            if found is not None:
                return found

    def _read(self) -> tuple[Stream, memoryview] | None:
        """Wait for nothing; what comes is looked at next, or is the last of a large message."""
        room = self._room()
        if room is None:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise ClosedError
            self._got = self._got[self._at :] + data
            self._at = 0
            self._connection.heard = time.monotonic()
            return None
        size = self._socket.recv_into(room)
        if not size:
            raise ClosedError
        self._connection.heard = time.monotonic()
        return self._arrived(size, room[:size])

    def _room(self) -> memoryview | None:
        """Where what comes next belongs, if that is in the middle of a message."""
        into = self._into
        useful = self._left - self._padding
        if useful < _CHUNK or self._padding < 0 or into is None or into.over or into.taken:
            return None
        room = into.messages.room(useful)
        return room if len(room) >= _CHUNK else None

    def _look(self) -> tuple[Stream, memoryview] | None:
        """At the bytes that have been read, until a message is complete."""
        while True:
            there = len(self._got) - self._at
            if self._left:
                if not there:
                    return None
                found = self._data(min(there, self._left))
                if found is not None:
                    return found
                continue
            if there < self._wanted:
                if not self._connection.greeted and not PREFACE.startswith(self._got):
                    self._greet(self._got)
                return None
            at = self._at
            self._at += self._wanted
            if self._frame is not None:
                kind, flags, stream = self._frame
                self._frame, self._wanted = None, FRAME_HEADER
                self._rules.take(kind, flags, stream, self._got[at : self._at])
            elif self._connection.greeted:
                high, low, kind, flags, stream = _HEADER.unpack_from(self._got, at)
                self._begin(high << 8 | low, kind, flags, stream & LARGEST_WINDOW)
            else:
                self._greet(self._got[: self._at])
                self._wanted = FRAME_HEADER

    def _throw_away(self) -> None:
        try:
            if not self._connection.socket.recv(1 << 16):
                raise ClosedError
        except BlockingIOError:
            pass

    def _greet(self, data: bytes) -> None:
        if data != PREFACE:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "no HTTP/2")
        self._connection.greeted = True
        first = settings({Setting.INITIAL_WINDOW_SIZE: self._connection.server.largest_message + (1 << 16)})
        with self._connection.lock:
            self._connection.output.control(_HELLO + first + window_update(0, LARGEST_WINDOW - 65_535))

    def _begin(self, size: int, kind: int, flags: int, stream: int) -> None:
        if self._rules.block is not None and (kind != Kind.CONTINUATION or stream != self._rules.block[0]):
            raise ConnectionError_(Code.PROTOCOL_ERROR, "headers are not continued")
        if size > (_LARGEST_FRAME if kind == Kind.DATA else LARGEST_BLOCK):
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if kind != Kind.DATA:
            if kind != Kind.HEADERS:
                self._rules.calm()
            if not size:
                self._rules.take(kind, flags, stream, b"")
                return
            self._frame, self._wanted = (kind, flags, stream), size
            return
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

    def _data(self, size: int) -> tuple[Stream, memoryview] | None:
        """Of a DATA frame ``size`` bytes have been read, or a part of them is looked at."""
        at, into = self._at, self._into
        if self._padding < 0:
            self._padding = self._got[at]
            if self._padding >= self._left:
                raise ConnectionError_(Code.PROTOCOL_ERROR, "more padding than frame")
            self._at += 1
            return self._arrived(1, None)
        filled: memoryview | None = None
        useful = min(size, self._left - self._padding)
        if useful > 0 and into is not None and not into.over and not into.taken:
            room = into.messages.room(useful)
            size = len(room)
            room[:] = memoryview(self._got)[at : at + size]
            filled = room
        self._at += size
        return self._arrived(size, filled)

    def _arrived(self, size: int, filled: memoryview | None) -> tuple[Stream, memoryview] | None:
        """So many bytes of a DATA frame; ``filled`` are those that belong to its message."""
        self._left -= size
        into = self._into
        found = None if filled is None or into is None else self._fill(into, filled)
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
