"""What frames mean: calls that begin and end, windows, settings; and when a client has gone too far."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import grpc

from fieldwave.serving.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    LARGEST_WINDOW,
    PADDED,
    PRIORITY,
    Code,
    ConnectionError_,
    Kind,
    Setting,
    frame,
    reset,
)
from fieldwave.serving.http2.headers import Head, HeadReader, MalformedError
from fieldwave.serving.http2.stream import Stream

if TYPE_CHECKING:
    from fieldwave.serving.http2.connection import Connection

__all__ = ["LARGEST_BLOCK", "MOST_STREAMS", "Rules"]

LARGEST_BLOCK = 16 << 10
MOST_STREAMS = 1024
_CALM = 2000
"""Frames in a second that ask for nothing (pings, settings, resets, empty ones) which a peer may send."""
_MOST_HELD = 32 << 20
"""Bytes of answers that a client has not read; one with as many gets no more."""


class Rules:
    """Of one connection; for the thread that reads it.

    Attributes:
        last: the stream that began last.
        block: of headers that are to be continued: the stream, the first frame's flags, and what has come.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._heads = HeadReader()
        self.last = 0
        self.block: tuple[int, int, bytearray] | None = None
        self._second = 0

    def half_closed(self, stream: Stream) -> None:
        """The caller sends no more."""
        with self._connection.lock:
            stream.half_closed = True
            if stream.taken or stream.over or stream.busy:
                return
        self._connection.server.received(stream)
        if stream.messages.begun:
            stream.fail(grpc.StatusCode.INTERNAL, "the call ended in the middle of a message")
        elif not stream.handler.response_streaming:
            stream.fail(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a request")
        else:
            stream.end()

    def take(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        """A frame that is not DATA.

        Raises:
            ConnectionError_: it breaks the rules.
        """
        match kind:
            case Kind.HEADERS:
                self._headers(flags, stream, data)
            case Kind.WINDOW_UPDATE:
                self._window(stream, data)
            case Kind.CONTINUATION:
                if self.block is None:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a continuation of nothing")
                of, first, block = self.block
                block += data
                if len(block) > LARGEST_BLOCK:
                    raise ConnectionError_(Code.ENHANCE_YOUR_CALM, "headers without an end")
                if flags & END_HEADERS:
                    self.block = None
                    self._call(of, first, bytes(block))
            case Kind.RST_STREAM:
                if len(data) != 4 or stream == 0 or stream > self.last:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a reset of no stream")
                if (one := self._connection.streams.get(stream)) is not None:
                    self._connection.over(one)
            case Kind.SETTINGS:
                self._settings(flags, stream, data)
            case Kind.PING:
                if len(data) != 8 or stream:
                    raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no ping")
                if not flags & ACK:
                    with self._connection.lock:
                        self._connection.output.control(frame(Kind.PING, ACK, 0, data))
            case Kind.GOAWAY:
                self._connection.leaving = True
            case Kind.PUSH_PROMISE:
                raise ConnectionError_(Code.PROTOCOL_ERROR, "clients promise nothing")
            case Kind.PRIORITY:
                if len(data) != 5 or stream == 0:
                    raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no priority")
        # Frames of other kinds are ignored, section 4.1.

    def _headers(self, flags: int, stream: int, data: bytes) -> None:
        if flags & PADDED:
            if not data or data[0] >= len(data):
                raise ConnectionError_(Code.PROTOCOL_ERROR, "more padding than frame")
            data = data[1 : len(data) - data[0]]
        if flags & PRIORITY:
            if len(data) < 5:
                raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no priority")
            data = data[5:]
        if stream % 2 == 0:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "streams of clients are odd")
        if flags & END_HEADERS:
            self._call(stream, flags, data)
        else:
            self.block = (stream, flags, bytearray(data))

    def _call(self, id: int, flags: int, block: bytes) -> None:
        ends = bool(flags & END_STREAM)
        if id <= self.last:  # trailers, or a stream that is over
            self._heads.skip(block)
            if (stream := self._connection.streams.get(id)) is not None and ends:
                self.half_closed(stream)
            return
        self.last = id
        try:
            head = self._heads.call(block)
        except MalformedError:
            self._connection.send(reset(id, Code.PROTOCOL_ERROR))
            return
        if (
            len(self._connection.streams) >= MOST_STREAMS
            or self._connection.server.full
            or self._connection.ending
        ):
            self._connection.send(reset(id, Code.REFUSED_STREAM))
            return
        stream = self._open(id, head)
        refusal = self._connection.server.refusal(stream)
        if self._connection.output.held > _MOST_HELD:
            refusal = grpc.StatusCode.RESOURCE_EXHAUSTED, "answers are not read; read them and try again"
        if refusal is not None:
            stream.half_closed = ends
            stream.fail(*refusal)
        elif ends:
            self.half_closed(stream)

    def _open(self, id: int, head: Head) -> Stream:
        stream = Stream(
            self._connection,
            id,
            head,
            self._connection.server.handler(head),
            self._connection.server.largest_message,
        )
        with self._connection.lock:
            self._connection.streams[id] = stream
            self._connection.output.open(id)
        return stream

    def _settings(self, flags: int, stream: int, data: bytes) -> None:
        if stream or len(data) % 6:
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no settings")
        if flags & ACK:
            return
        with self._connection.lock:
            for name, value in struct.iter_unpack(">HI", data):
                if name == Setting.INITIAL_WINDOW_SIZE:
                    if value > LARGEST_WINDOW:
                        raise ConnectionError_(Code.FLOW_CONTROL_ERROR, "a window larger than 2^31 - 1")
                    self._connection.output.first_window(value)
                elif name == Setting.MAX_FRAME_SIZE:
                    if not 1 << 14 <= value < 1 << 24:
                        raise ConnectionError_(Code.PROTOCOL_ERROR, f"frames of {value} bytes")
                    self._connection.output.largest_frame(value)
                elif name == Setting.ENABLE_PUSH and value > 1:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a push that is neither on nor off")
            self._connection.output.control(frame(Kind.SETTINGS, ACK, 0))
        self._connection.wake()

    def _window(self, stream: int, data: bytes) -> None:
        more = int.from_bytes(data, "big") & LARGEST_WINDOW
        if len(data) != 4:
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no window update")
        if not more and stream == 0:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "a window that opens by nothing")
        with self._connection.lock:
            try:
                self._connection.output.enlarge(stream, more)
            except OverflowError:
                more = 0
        if not more and (one := self._connection.streams.get(stream)) is not None:
            self._connection.refuse_frames(one, Code.FLOW_CONTROL_ERROR)
        self._connection.wake()

    def calm(self) -> None:
        """A frame came that asks for nothing.

        Raises:
            ConnectionError_: too many do.
        """
        second = int(self._connection.heard)
        idle = max(self._connection.idle_frames, 0) + 1 if second == self._second else 1
        self._connection.idle_frames = idle
        self._second = second
        if idle > _CALM:
            raise ConnectionError_(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")
