"""One connection of HTTP/2, read by blocking threads that take turns ("leader and followers").

Whoever has read a request to its end answers it, so that no byte of it changes hands; another thread reads on,
where answers take time or more has arrived already. Schmidt et al., Leader/Followers, 2000.
"""

from __future__ import annotations

import contextlib
import io
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from hpack import HPACKError

from fieldwave.serving.direct import frames
from fieldwave.serving.direct.answering import Answering, EndedError
from fieldwave.serving.direct.call import DirectCall
from fieldwave.serving.direct.headers import MOST_BYTES, HeaderReader, Headers, without_padding
from fieldwave.serving.direct.methods import Outcome
from fieldwave.serving.direct.stream import PREFIX_BYTES, Stream
from fieldwave.serving.direct.windows import FRAME_SIZE_ERROR, MOST_WINDOW, PROTOCOL_ERROR, BrokenError

if TYPE_CHECKING:
    from fieldwave.serving.direct.direct_server import DirectServer

__all__ = ["Connection"]

_BUFFER_BYTES = 64 << 10
_OWN_WINDOW = 16 << 20
"""What a client may send on a connection before it hears that it may send more."""
_MOST_FRAME = 1 << 20
_MOST_STREAMS = 128
_MOST_WAITING = 4
"""So many threads stay to take their turn at reading."""
_QUICK_SECONDS = 1e-3
"""Where answers usually take no longer, the thread that answers stays the one that reads."""

_REFUSED_STREAM, _COMPRESSION_ERROR = 7, 9
_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED, _UNIMPLEMENTED, _UNAUTHENTICATED = 3, 8, 12, 16
_MAX_STREAMS, _INITIAL_WINDOW, _MAX_FRAME, _MAX_HEADERS = 3, 4, 5, 6  # settings


class Connection(Answering):
    """Reads requests and answers them.

    Parameters:
        server: with the methods and the limits.
        connected: the socket.
        client: as `fieldwave.serving.caller.Caller` has it.
    """

    def __init__(self, server: DirectServer, connected: socket.socket, client: str) -> None:
        super().__init__(server, connected)
        self.begin = time.monotonic()
        self._client = client
        self._file = io.BufferedReader(socket.SocketIO(connected, "r"), _BUFFER_BYTES)
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)
        self._reading = threading.Lock()
        self._headers_of = HeaderReader().read
        self._waiting = 0
        self._last = 0
        self._final: int | None = None
        self._greeted = False
        self._credit = 0
        self._usual = 1.0

    def serve(self) -> None:
        """The life of a thread: to read requests, one after the other, and to answer them."""
        reads = False
        try:
            while True:
                if not reads and not self._take_turn():
                    return
                reads = True
                stream = self._receive()
                stream.reads, reads = True, False
                try:
                    if self._usual > _QUICK_SECONDS or self._more():
                        self.hand_on(stream)
                    begin = time.perf_counter()
                    self.answer(stream)
                finally:
                    with self._changed:
                        reads, stream.reads = stream.reads, False
                self._usual += 0.1 * (time.perf_counter() - begin - self._usual)
        except BrokenError as error:
            with contextlib.suppress(EndedError):
                self.write(frames.goaway(self._last, error.code))
        except (EndedError, OSError, ValueError):  # of a socket or a file that has been closed
            pass
        finally:
            if reads:
                self.abort()
                self._reading.release()

    def finish(self) -> None:
        """Take no more calls; those after the last that has been seen can be sent elsewhere."""
        with self._changed:
            if self._final is not None:
                return
            self._final = self._last
        with contextlib.suppress(EndedError):
            self.write(frames.goaway(self._final))

    @property
    def finished(self) -> bool:
        """Whether it takes no more calls and has answered all."""
        return self._final is not None and not self._streams

    def overdue(self, before: float) -> bool:
        """Whether it said no hello, or a request is not complete, that began before ``before``."""
        with self._changed:
            return (not self._greeted and self.begin < before) or any(
                not stream.complete and stream.since < before for stream in self._streams.values()
            )

    def _take_turn(self) -> bool:
        """Become the thread that reads; False if enough others wait for that."""
        with self._changed:
            if self._waiting >= _MOST_WAITING or self._closed:
                return False
            self._waiting += 1
        self._reading.acquire()
        with self._changed:
            self._waiting -= 1
            if not self._closed:
                return True
        self._reading.release()
        return False

    def hand_on(self, stream: Stream) -> None:
        """Let another thread read, if there is one and the call's own does."""
        with self._changed:
            if stream.reads and (self._waiting > 0 or self._server.lend_thread(self)):
                stream.reads = False
                self._reading.release()

    def _more(self) -> bool:
        """Whether something has arrived that has not been read."""
        return bool(self._poll.poll(0))

    def _receive(self) -> Stream:
        """Read until a request is complete."""
        if not self._greeted:
            self._greet()
        while True:
            head = self._read(9)
            size, kind, flags = head[0] << 16 | head[1] << 8 | head[2], head[3], head[4]
            number = int.from_bytes(head[5:], "big") & MOST_WINDOW
            ready = None
            if size > (_MOST_FRAME if kind == frames.DATA else MOST_BYTES):
                raise BrokenError(FRAME_SIZE_ERROR)
            if kind == frames.DATA:
                ready = self._data(number, flags, size)
            elif kind == frames.HEADERS:
                ready = self._headers(number, flags, self._read(size))
            elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
                raise BrokenError(PROTOCOL_ERROR)
            else:
                self._control(kind, flags, number, self._read(size))
            if ready is not None:
                return ready

    def _greet(self) -> None:
        if self._read(len(frames.PREFACE)) != frames.PREFACE:
            raise EndedError
        window = min(self._server.max_message_bytes + PREFIX_BYTES, MOST_WINDOW)
        asked = (
            (_MAX_STREAMS, _MOST_STREAMS),
            (_INITIAL_WINDOW, window),
            (_MAX_FRAME, _MOST_FRAME),
            (_MAX_HEADERS, MOST_BYTES),
        )
        self.write(frames.settings(asked) + frames.window_update(0, _OWN_WINDOW - 65535))
        self._greeted = True

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise EndedError
        return data

    def _data(self, number: int, flags: int, size: int) -> Stream | None:
        """Take a part of a request; it, if it was the last."""
        left, padding = size, 0
        if flags & frames.PADDED:
            padding = self._read(1)[0]
            left -= 1 + padding
        if number > self._last or number % 2 == 0 or left < 0:
            raise BrokenError(PROTOCOL_ERROR)
        stream = self._streams.get(number)
        if stream is not None and stream.complete:
            raise BrokenError(PROTOCOL_ERROR)
        if stream is not None and len(stream.prefix) < PREFIX_BYTES:
            part = self._read(min(PREFIX_BYTES - len(stream.prefix), left))
            stream.prefix += part
            left -= len(part)
            if len(stream.prefix) == PREFIX_BYTES and not self._make_room(stream):
                stream = None
        if stream is not None and left:
            end = stream.received + left
            body = stream.body
            if body is None or end > len(body):
                self.refuse(stream, Outcome(_INVALID_ARGUMENT, text="more than one message was sent; send one"))
                stream = None
            else:
                while stream.received < end:
                    got = self._file.readinto(body[stream.received : end])
                    if not got:
                        raise EndedError
                    stream.received += got
                left = 0
        if left + padding:
            self._read(left + padding)
        self._credit += size
        if self._credit >= _OWN_WINDOW // 4:
            self.write(frames.window_update(0, self._credit))
            self._credit = 0
        return self._completed(stream) if stream is not None and flags & frames.END_STREAM else None

    def _make_room(self, stream: Stream) -> bool:
        """For the message that the prefix announces; False if the call has been refused."""
        most = self._server.max_message_bytes
        if stream.prefix[0]:
            outcome = Outcome(_UNIMPLEMENTED, text="compressed messages are not read; send them as they are")
        elif stream.length > most:
            text = f"Received message larger than max ({stream.length} vs. {most})"
            outcome = Outcome(_RESOURCE_EXHAUSTED, text=text)
        else:
            with self._changed:
                if self._closed:
                    raise EndedError
                if self._server.hold(stream.length):
                    stream.make_room()
                    return True
            outcome = Outcome(_RESOURCE_EXHAUSTED, text="too much is being received; try again later")
        self.refuse(stream, outcome)
        return False

    def _headers(self, number: int, flags: int, block: bytes) -> Stream | None:
        """Begin a call; it, if that was all of it."""
        block = without_padding(block, flags)
        while not flags & frames.END_HEADERS:
            head = self._read(9)
            size, flags_more = head[0] << 16 | head[1] << 8 | head[2], head[4]
            expected = head[3] == frames.CONTINUATION and int.from_bytes(head[5:], "big") == number
            if not expected or len(block) + size > MOST_BYTES:
                raise BrokenError(PROTOCOL_ERROR)
            block += self._read(size)
            flags |= flags_more & frames.END_HEADERS
        try:
            headers = self._headers_of(block)
        except HPACKError:
            raise BrokenError(_COMPRESSION_ERROR) from None
        with self._changed:
            if number <= self._last or number % 2 == 0:
                stream = self._streams.get(number)
                if stream is None or stream.complete or not flags & frames.END_STREAM:
                    raise BrokenError(PROTOCOL_ERROR)
            else:
                if self._final is not None:
                    return None  # it was told that this call is not looked at
                self._last = number
                stream = None
        if stream is not None:
            return self._completed(stream)
        return self._begin_call(number, flags, headers)

    def _begin_call(self, number: int, flags: int, headers: Headers) -> Stream | None:
        metadata = headers.metadata
        full = len(self._streams) >= _MOST_STREAMS
        grpc = metadata.get(":method") == "POST" and metadata.get("content-type", "").startswith(
            "application/grpc"
        )
        if full or not grpc:
            self.write(frames.reset(number, _REFUSED_STREAM if full else PROTOCOL_ERROR))
            return None
        call = DirectCall(number, self._client, metadata)
        path = metadata.get(":path", "")
        method = self._server.method(path)
        objection = self._server.objection(path, headers.keys, self._client)
        refusal: Outcome | None = None
        if objection is not None:
            refusal = Outcome(_UNAUTHENTICATED, text=objection)
        elif method is None:
            refusal = Outcome(_UNIMPLEMENTED, text="Method not found!")
        else:
            refusal = method.refusal(call)
        if method is None or refusal is not None:
            assert refusal is not None
            self.end_call(number, refusal, whole=bool(flags & frames.END_STREAM))
            if method is not None:
                method.note(call, refusal)
            return None
        stream = Stream(call, method, self._windows.initial)
        with self._changed:
            self._streams[number] = stream
        return self._completed(stream) if flags & frames.END_STREAM else None

    def _completed(self, stream: Stream) -> Stream | None:
        """A call whose client says no more."""
        if stream.body is None or stream.received < len(stream.body):
            text = "the call ended without a request" if not stream.prefix else "the request was cut off"
            self.refuse(stream, Outcome(_INVALID_ARGUMENT, text=text), whole=True)
            return None
        stream.complete = True
        return stream

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """What is about the connection, or about a call that has begun."""
        if kind == frames.SETTINGS:
            self._settings(flags, payload)
        elif kind == frames.PING:
            if len(payload) != 8:
                raise BrokenError(FRAME_SIZE_ERROR)
            if not flags & frames.ACK:
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.WINDOW_UPDATE:
            with self._changed:
                self._windows.widen(self._streams.get(number), number, payload)
                self._changed.notify_all()
        elif kind == frames.RST_STREAM:
            if number > self._last:
                raise BrokenError(PROTOCOL_ERROR)
            with self._changed:
                stream = self._streams.get(number)
                if stream is not None:
                    stream.call.lost = True
                    if not stream.complete:
                        self.drop(stream)
                    self._changed.notify_all()

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        with self._changed:
            self._windows.settings(payload, self._streams.values())
            self._changed.notify_all()
        self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
