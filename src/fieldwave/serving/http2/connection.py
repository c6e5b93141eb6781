"""One connection: frames in, calls out of them, answers back.

One thread at a time reads. It reads frame by frame and leaves in the system what it has not asked for, so that
whoever reads next finds it there.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import grpc

from fieldwave.serving.http2.frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    LARGEST_WINDOW,
    PADDED,
    PREFACE,
    PRIORITY,
    Code,
    ConnectionError_,
    Kind,
    Setting,
    frame,
    go_away,
    reset,
    settings,
    window_update,
)
from fieldwave.serving.http2.headers import Head, HeadReader, MalformedError
from fieldwave.serving.http2.messages import TooLargeError, UnreadableError
from fieldwave.serving.http2.output import Output
from fieldwave.serving.http2.stream import Stream

if TYPE_CHECKING:
    from fieldwave.serving.http2.server import Http2Server

__all__ = ["Connection"]

_LARGEST_FRAME = 4 << 20
_LARGEST_BLOCK = 16 << 10
_MOST_STREAMS = 1024
_PART_SECONDS = 0.002
"""How long a thread waits for the rest of a frame before it does something else."""
_CALM = 2000
"""Frames in a second that ask for nothing (pings, settings, resets, empty ones) which a peer may send."""
_REPLENISH = 1 << 28

_HELLO = settings(
    {
        Setting.MAX_CONCURRENT_STREAMS: _MOST_STREAMS,
        Setting.MAX_FRAME_SIZE: _LARGEST_FRAME,
        Setting.MAX_HEADER_LIST_SIZE: _LARGEST_BLOCK,
    }
)
_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n"
    b"this port speaks gRPC; HTTP has a port of its own, if the service was given one\n"
)


class ClosedError(Exception):
    """The peer has gone."""


class Connection:
    """Of one client.

    Attributes:
        peer: as gRPC names it.
        lock: around all that is sent, and the streams.
        streams: that are not over.
        begun: when it was made; heard: when its client last sent something, by `time.monotonic`.
        greeted: the client has said that it speaks HTTP/2.
        reading: a thread reads it.
        usual: how long a call takes, in seconds.
        answers_since: since when the thread that reads answers a call; 0 if it does not.
    """

    def __init__(self, server: Http2Server, sock: socket.socket, peer: str) -> None:
        self._server = server
        self.socket = sock
        self.peer = peer
        self.lock = threading.Lock()
        self.streams: dict[int, Stream] = {}
        self.begun = self.heard = time.monotonic()
        self.greeted = self.reading = self.closed = self.leaving = False
        self.pinged = self.stuck = self.aged = 0.0
        self._output = Output(sock)
        self._heads = HeadReader()
        self._last = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._got = bytearray()
        self._wanted = len(PREFACE)
        self._frame: tuple[int, int, int] | None = None  # kind, flags and stream of the one whose payload comes
        self._left = 0  # bytes of a DATA frame to come
        self._padding = 0
        self._into: Stream | None = None
        self._ends = False
        self._block: tuple[int, int, bytearray] | None = None  # headers that are continued
        self._consumed = 0
        self._second, self._frames = 0, 0
        self._turn = 0
        self.usual = 1.0
        self.answers_since = 0.0

    # Turns at reading.

    def take(self) -> int | None:
        """Begin to read; the number of the turn, or None if a thread reads already."""
        with self.lock:
            if self.reading or self.closed:
                return None
            self.reading = True
            self._turn += 1
            return self._turn

    def release(self, turn: int | None = None) -> None:
        """End a turn, or whichever there is; another thread may read when there is something."""
        with self.lock:
            if not self.reading or (turn is not None and turn != self._turn):
                return
            self.reading = False
            self.answers_since = 0.0
            self._turn += 1
        self._server.arm(self)

    def holds(self, turn: int) -> bool:
        """Whether that turn has not been ended by another thread."""
        return self.reading and self._turn == turn

    def soon(self, seconds: float) -> bool:
        """Wait until there is something to read."""
        return bool(self._poll.poll(1000 * seconds))

    # Reading.

    def receive(self) -> tuple[Stream, memoryview] | None:
        """Read until a message is complete; None when what is there has been read.

        Raises:
            ConnectionError_: the client breaks the rules.
            ClosedError, OSError: it has gone.
        """
        while True:
            try:
                found = self._data() if self._left else self._small()
            except BlockingIOError:
                if not (self._got or self._left) or not self.soon(_PART_SECONDS):
                    return None
                continue
            if found is not None:
                return found

    def _small(self) -> tuple[Stream, memoryview] | None:
        missing = self._wanted - len(self._got)
        if missing:
            data = self.socket.recv(missing)
            if not data:
                raise ClosedError
            self.heard = time.monotonic()
            if self._got or len(data) < missing:
                self._got += data
                if len(self._got) < self._wanted:
                    if not self.greeted and not PREFACE.startswith(self._got):
                        self._greet(bytes(self._got))
                    return None
                data = bytes(self._got)
        else:
            data = b""
        self._got.clear()
        if not self.greeted:
            self._greet(data)
            self._wanted = FRAME_HEADER
            return None
        if self._frame is None:
            size, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            return self._begin(size, kind, flags, int.from_bytes(data[5:], "big") & LARGEST_WINDOW)
        kind, flags, stream = self._frame
        self._frame, self._wanted = None, FRAME_HEADER
        return self._take(kind, flags, stream, data)

    def _greet(self, data: bytes) -> None:
        if data != PREFACE:
            with self.lock:
                self._output.control(_NOT_HTTP2)
            raise ClosedError
        self.greeted = True
        first = settings({Setting.INITIAL_WINDOW_SIZE: self._server.largest_message + (1 << 16)})
        with self.lock:
            self._output.control(_HELLO + first + window_update(0, LARGEST_WINDOW - 65_535))

    def _begin(self, size: int, kind: int, flags: int, stream: int) -> tuple[Stream, memoryview] | None:
        if self._block is not None and (kind != Kind.CONTINUATION or stream != self._block[0]):
            raise ConnectionError_(Code.PROTOCOL_ERROR, "headers are not continued")
        if size > (_LARGEST_FRAME if kind == Kind.DATA else _LARGEST_BLOCK):
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
        if kind != Kind.DATA:
            if kind != Kind.HEADERS:
                self._calm()
            if not size:
                return self._take(kind, flags, stream, b"")
            self._frame, self._wanted = (kind, flags, stream), size
            return None
        if stream == 0 or stream > self._last:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "data of no stream")
        self._consume(size)
        self._padding = 0
        if flags & PADDED:
            if not size:
                raise ConnectionError_(Code.FRAME_SIZE_ERROR, "padding without a length")
            self._padding = -1  # its length comes first
        if not size:
            self._calm()
        into = self.streams.get(stream)
        self._into = None if into is None or into.taken or into.over else into
        if into is not None and into.half_closed:
            self._refuse_frames(into, Code.STREAM_CLOSED)
            self._into = None
        self._ends = bool(flags & END_STREAM)
        self._left = size
        return self._data_ends(into) if not size else None

    def _data(self) -> tuple[Stream, memoryview] | None:
        into = self._into
        useful = self._left - max(self._padding, 0)
        if self._padding < 0:
            length = self.socket.recv(1)
            if not length:
                raise ClosedError
            self._left -= 1
            self._padding = length[0]
            if self._padding > self._left:
                raise ConnectionError_(Code.PROTOCOL_ERROR, "more padding than frame")
            return None if self._left else self._data_ends(into)
        found: tuple[Stream, memoryview] | None = None
        if into is None or into.over or into.taken or useful <= 0:
            size = len(self.socket.recv(min(self._left, 1 << 16)))
        else:
            room = into.messages.room(useful)
            size = self.socket.recv_into(room)
            if size:
                found = self._fill(into, room[:size])
        if not size:
            raise ClosedError
        self.heard = time.monotonic()
        self._left -= size
        if self._left:
            return found
        return self._data_ends(into) or found

    def _fill(self, into: Stream, filled: memoryview) -> tuple[Stream, memoryview] | None:
        try:
            into.messages.add(filled)
            for data, compressed in into.messages.complete():
                self._server.received(into)
                message = self._server.expand(into, data) if compressed else data
                if into.handler.response_streaming:
                    return (into, message) if self._queue(into, message) else None
                into.taken = True
                return into, message
        except TooLargeError as error:
            into.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        except UnreadableError as error:
            into.fail(grpc.StatusCode.INTERNAL, str(error))
        return None

    def _queue(self, stream: Stream, message: memoryview) -> bool:
        """Keep a message of a stream that has several; whether a thread is needed that answers them in turn."""
        with self.lock:
            stream.queue.append(message)
            begins, stream.busy = not stream.busy, True
        return begins

    def next_message(self, stream: Stream) -> memoryview | None:
        """The next message of such a stream; with None the thread that answers them is done."""
        with self.lock:
            if stream.queue:
                return stream.queue.popleft()
            stream.busy = False
            stream.since = time.monotonic()
            ends = stream.half_closed and not stream.taken
        if ends:
            stream.end()
        return None

    def _data_ends(self, into: Stream | None) -> tuple[Stream, memoryview] | None:
        if self._ends and into is not None:
            self._half_closed(into)
        return None

    def _half_closed(self, stream: Stream) -> None:
        with self.lock:
            stream.half_closed = True
            if stream.taken or stream.over or stream.busy:
                return
        self._server.received(stream)
        if stream.messages.begun:
            stream.fail(grpc.StatusCode.INTERNAL, "the call ended in the middle of a message")
        elif not stream.handler.response_streaming:
            stream.fail(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a request")
        else:
            stream.end()

    def _consume(self, size: int) -> None:
        self._consumed += size
        if self._consumed >= _REPLENISH:
            with self.lock:
                self._output.control(window_update(0, self._consumed))
            self._consumed = 0

    def _take(self, kind: int, flags: int, stream: int, data: bytes) -> tuple[Stream, memoryview] | None:
        match kind:
            case Kind.HEADERS:
                self._headers(flags, stream, data)
            case Kind.CONTINUATION:
                if self._block is None:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a continuation of nothing")
                of, first, block = self._block
                block += data
                if len(block) > _LARGEST_BLOCK:
                    raise ConnectionError_(Code.ENHANCE_YOUR_CALM, "headers without an end")
                if flags & END_HEADERS:
                    self._block = None
                    self._call(of, first, bytes(block))
            case Kind.RST_STREAM:
                if len(data) != 4 or stream == 0 or stream > self._last:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a reset of no stream")
                if (one := self.streams.get(stream)) is not None:
                    self._over(one)
            case Kind.SETTINGS:
                self._settings(flags, stream, data)
            case Kind.PING:
                if len(data) != 8 or stream:
                    raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no ping")
                if not flags & ACK:
                    with self.lock:
                        self._output.control(frame(Kind.PING, ACK, 0, data))
            case Kind.WINDOW_UPDATE:
                self._window(stream, data)
            case Kind.GOAWAY:
                self.leaving = True
            case Kind.PUSH_PROMISE:
                raise ConnectionError_(Code.PROTOCOL_ERROR, "clients promise nothing")
            case Kind.PRIORITY:
                if len(data) != 5 or stream == 0:
                    raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no priority")
        return None  # frames of other kinds are ignored, section 4.1

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
            self._block = (stream, flags, bytearray(data))

    def _call(self, id: int, flags: int, block: bytes) -> None:
        ends = bool(flags & END_STREAM)
        if id <= self._last:  # trailers, or a stream that is over
            self._heads.skip(block)
            if (stream := self.streams.get(id)) is not None and ends:
                self._half_closed(stream)
            return
        self._last = id
        try:
            head = self._heads.call(block)
        except MalformedError:
            self._send(reset(id, Code.PROTOCOL_ERROR))
            return
        if len(self.streams) >= _MOST_STREAMS or self._server.ending(self):
            self._send(reset(id, Code.REFUSED_STREAM))
            return
        stream = self._open(id, head)
        refusal = self._server.refusal(stream)
        if refusal is not None:
            stream.half_closed = ends
            stream.fail(*refusal)
        elif ends:
            self._half_closed(stream)

    def _open(self, id: int, head: Head) -> Stream:
        stream = Stream(self, id, head, self._server.handler(head), self._server.largest_message)
        with self.lock:
            self.streams[id] = stream
            self._output.open(id)
        return stream

    def _settings(self, flags: int, stream: int, data: bytes) -> None:
        if stream or len(data) % 6:
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no settings")
        if flags & ACK:
            return
        with self.lock:
            for name, value in struct.iter_unpack(">HI", data):
                if name == Setting.INITIAL_WINDOW_SIZE:
                    if value > LARGEST_WINDOW:
                        raise ConnectionError_(Code.FLOW_CONTROL_ERROR, "a window larger than 2^31 - 1")
                    self._output.first_window(value)
                elif name == Setting.MAX_FRAME_SIZE:
                    if not 1 << 14 <= value < 1 << 24:
                        raise ConnectionError_(Code.PROTOCOL_ERROR, f"frames of {value} bytes")
                    self._output.largest_frame(value)
                elif name == Setting.ENABLE_PUSH and value > 1:
                    raise ConnectionError_(Code.PROTOCOL_ERROR, "a push that is neither on nor off")
            self._output.control(frame(Kind.SETTINGS, ACK, 0))
        self._wake()

    def _window(self, stream: int, data: bytes) -> None:
        more = int.from_bytes(data, "big") & LARGEST_WINDOW
        if len(data) != 4:
            raise ConnectionError_(Code.FRAME_SIZE_ERROR, "no window update")
        if not more and stream == 0:
            raise ConnectionError_(Code.PROTOCOL_ERROR, "a window that opens by nothing")
        with self.lock:
            try:
                self._output.enlarge(stream, more)
            except OverflowError:
                more = 0
        if not more and (one := self.streams.get(stream)) is not None:
            self._refuse_frames(one, Code.FLOW_CONTROL_ERROR)
        self._wake()

    def _calm(self) -> None:
        second = int(self.heard)
        self._frames = self._frames + 1 if second == self._second else 1
        self._second = second
        if self._frames > _CALM:
            raise ConnectionError_(Code.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def _refuse_frames(self, stream: Stream, code: Code) -> None:
        self._send(reset(stream.id, code))
        self._over(stream)

    # Sending; any thread.

    def answer(self, stream: Stream, head: bytes, data: Sequence[Any], after: bytes) -> None:
        """As `Output.answer`; with ``after`` the stream is over."""
        try:
            with self.lock:
                if stream.over or self.closed:
                    return
                self._output.answer(stream.id, head, data, after)
                if after and not stream.half_closed and not self._output.waiting:
                    # What the caller would still send is of no use.
                    self._output.control(reset(stream.id, Code.NO_ERROR))
        except (OSError, ConnectionError_):
            self.close()
        else:
            self._wake()
        if after:
            self._over(stream, sent=True)

    def cancel(self, stream: Stream) -> None:
        """End a stream without an answer; its caller sees CANCELLED."""
        if not stream.over:
            self._send(reset(stream.id, Code.CANCEL))
            self._over(stream)

    def go_away(self, last: int | None = None, code: Code = Code.NO_ERROR, text: str = "") -> None:
        """Ask the client to make another connection for what comes; streams up to ``last`` are answered."""
        self._send(go_away(self._last if last is None else last, code, text))

    def ping(self) -> None:
        """See whether the client is there."""
        self._send(frame(Kind.PING, 0, 0, b"fieldwav"))

    def flush(self) -> None:
        """Send what can be sent now."""
        with self.lock:
            before = self._output.blocked
            self._output.flush()
            if before and not self._output.blocked:
                self.stuck = 0.0

    @property
    def blocked(self) -> bool:
        """Whether the system took less than there is to send."""
        return self._output.blocked

    @property
    def unread(self) -> bool:
        """Whether the client has not taken all that was answered."""
        return self._output.blocked or self._output.waiting

    def close(self) -> None:
        """End it, and all its calls."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        self._server.left(self)
        self.socket.close()
        for stream in tuple(self.streams.values()):
            self._over(stream)

    def _send(self, data: bytes) -> None:
        try:
            with self.lock:
                if not self.closed:
                    self._output.control(data)
        except (OSError, ConnectionError_):
            self.close()
        else:
            self._wake()

    def _wake(self) -> None:
        if self._output.blocked and not self.reading:
            self._server.arm(self)

    def _over(self, stream: Stream, *, sent: bool = False) -> None:
        with self.lock:
            if self.streams.pop(stream.id, None) is None:
                return
            stream.over = True
            if not sent:
                self._output.forget(stream.id)
        self._server.received(stream)
        stream.finished()
