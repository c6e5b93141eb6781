"""One connection: the turns at reading it, its calls, and what is sent on it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fieldwave.serving.http2.frames import Code, ConnectionError_, Kind, frame, go_away, reset, window_update
from fieldwave.serving.http2.output import Output
from fieldwave.serving.http2.reader import ClosedError, Reader
from fieldwave.serving.http2.stream import Stream

if TYPE_CHECKING:
    from fieldwave.serving.http2.server import Http2Server

__all__ = ["ClosedError", "Connection"]

_CALM_FOR_ANSWER = 8
"""So many more frames that ask for nothing may come for each answer."""

_NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\r\n"
    b"this port speaks gRPC; HTTP has a port of its own, if the service was given one\n"
)


class Connection:
    """Of one client.

    Parameters:
        age: how long it lasts, in seconds.

    Attributes:
        server, socket, peer: whose it is; the peer as gRPC names it.
        lock: around all that is sent, and the streams.
        streams: that are not over.
        output: what is to be sent, and the client's windows.
        begun: when it was made; heard: when its client last sent something, by `time.monotonic`.
        greeted: the client has said that it speaks HTTP/2; leaving: and that it makes no more calls.
        until: when its client is to make another; ending: no more calls are taken.
        reading: a thread reads it.
        usual: how long a call takes, in seconds.
        answers_since: since when the thread that reads answers a call; 0 if it does not.
        idle_frames: that asked for nothing, in this second, less those that are forgiven.
        pinged, stuck, aged, broken: when its client was asked whether it is there, ceased to read, was told to
            make another, and broke the rules; 0 for never.
    """

    def __init__(self, server: Http2Server, sock: socket.socket, peer: str, age: float) -> None:
        self.server = server
        self.socket = sock
        self.peer = peer
        self.lock = threading.Lock()
        self.streams: dict[int, Stream] = {}
        self.output = Output(sock)
        self.begun = self.heard = time.monotonic()
        self.until = self.begun + age
        self.greeted = self.reading = self.closed = self.leaving = self.ending = False
        self.pinged = self.stuck = self.aged = self.broken = 0.0
        self.usual = 1.0
        self.answers_since = 0.0
        self.idle_frames = 0
        self._reader = Reader(self)
        self.receive = self._reader.receive
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._turn = 0

    # Turns at reading.

    def take(self) -> int | None:
        """Begin to read; the number of the turn, or None if a thread reads already."""
        with self.lock:
            if self.reading or self.closed:
                return None
            self.reading = True
            self._turn += 1
            return self._turn

    def release(self, turn: int) -> None:
        """End a turn, if no other thread has; another may read when there is something."""
        with self.lock:
            if turn != self._turn:
                return
            self._end_turn()
        self.server.arm(self)

    def stay(self, since: float) -> None:
        """Keep the turn while a call is answered; from now on others may end it."""
        self.answers_since = since

    def resume(self, turn: int) -> bool:
        """Go on to read after an answer; False if another thread has ended the turn."""
        with self.lock:
            if turn != self._turn:
                return False
            self.answers_since = 0.0
            return True

    def relieve(self) -> None:
        """Have another thread read while the one whose turn it is answers; one that reads is left alone."""
        with self.lock:
            if not self.answers_since:
                return
            self._end_turn()
        self.server.arm(self)

    def _end_turn(self) -> None:
        self.reading = False
        self.answers_since = 0.0
        self._turn += 1

    def soon(self, seconds: float) -> bool:
        """Wait until there is something to read."""
        return bool(self._poll.poll(1000 * seconds))

    @property
    def ready(self) -> bool:
        """Whether something has been read that no thread has looked at; see `Reader`."""
        return self._reader.ready

    # Calls whose messages come one after the other.

    def queue(self, stream: Stream, message: memoryview) -> bool:
        """Keep a message of a stream that has several; whether a thread is needed that answers them in turn."""
        with self.lock:
            stream.queue.append(message)
            begins, stream.busy = not stream.busy, True
        return begins

    def next_message(self, stream: Stream) -> memoryview | None:
        """The next message of such a stream; with None the thread that answers them is done."""
        with self.lock:
            if stream.queue:
                message = stream.queue.popleft()
                self.output.control(window_update(stream.id, len(message) + 5))
                return message
            stream.busy = False
            stream.since = time.monotonic()
            ends = stream.half_closed and not stream.taken
        if ends:
            stream.end()
        return None

    def refuse_frames(self, stream: Stream, code: Code) -> None:
        """End a stream whose frames break the rules."""
        self.send(reset(stream.id, code))
        self.over(stream)

    # Sending; any thread.

    def answer(self, stream: Stream, head: bytes, data: Sequence[Any], after: bytes) -> None:
        """As `Output.answer`; with ``after`` the stream is over."""
        try:
            with self.lock:
                if stream.over or stream.ended or self.closed:
                    return
                stream.ended = bool(after)
                self.output.answer(stream.id, head, data, after)
                if after:
                    self.idle_frames -= _CALM_FOR_ANSWER
                if after and not stream.half_closed and not self.output.waiting:
                    # What the caller would still send is of no use.
                    self.output.control(reset(stream.id, Code.NO_ERROR))
        except (OSError, ConnectionError_):
            self.close()
        else:
            self.wake()
        if after:
            self.over(stream, sent=True)

    def cancel(self, stream: Stream) -> None:
        """End a stream without an answer; its caller sees CANCELLED."""
        if not stream.over:
            self.send(reset(stream.id, Code.CANCEL))
            self.over(stream)

    def go_away(self, last: int | None = None, code: Code = Code.NO_ERROR, text: str = "") -> None:
        """Ask the client to make another connection for what comes; streams up to ``last`` are answered."""
        self.send(go_away(self._reader.last if last is None else last, code, text))

    def ping(self) -> None:
        """See whether the client is there."""
        self.send(frame(Kind.PING, 0, 0, b"fieldwav"))

    def flush(self) -> None:
        """Send what can be sent now."""
        with self.lock:
            before = self.output.blocked
            self.output.flush()
            if before and not self.output.blocked:
                self.stuck = 0.0

    @property
    def blocked(self) -> bool:
        """Whether the system took less than there is to send."""
        return self.output.blocked

    @property
    def unread(self) -> bool:
        """Whether the client has not taken all that was answered."""
        return self.output.blocked or self.output.waiting

    def break_off(self, error: ConnectionError_) -> None:
        """Say what was wrong, end all calls, and throw away what comes until the client has read it."""
        if self.greeted:
            self.go_away(code=error.code, text=str(error))
        else:
            self.send(_NOT_HTTP2)
        self.broken = time.monotonic()
        for stream in tuple(self.streams.values()):
            self.over(stream)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it, and all its calls."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        self.server.left(self)
        self.socket.close()
        for stream in tuple(self.streams.values()):
            self.over(stream)

    def send(self, data: bytes) -> None:
        try:
            with self.lock:
                if not self.closed:
                    self.output.control(data)
        except (OSError, ConnectionError_):
            self.close()
        else:
            self.wake()

    def wake(self) -> None:
        if self.output.blocked and not self.reading:
            self.server.arm(self)

    def over(self, stream: Stream, *, sent: bool = False) -> None:
        with self.lock:
            if self.streams.pop(stream.id, None) is None:
                return
            stream.over = True
            if not sent:
                self.output.forget(stream.id)
        stream.messages.drop()
        self.server.received(stream)
        stream.finished()
