"""What a connection says: answers, in any thread, as fast as its client takes them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from fieldwave.serving.direct import frames
from fieldwave.serving.direct.methods import Outcome
from fieldwave.serving.direct.stream import PREFIX_BYTES, Stream
from fieldwave.serving.direct.windows import Windows

if TYPE_CHECKING:
    from fieldwave.serving.direct.direct_server import DirectServer

__all__ = ["Answering", "EndedError"]

_SMALL_BYTES = 64 << 10


class EndedError(Exception):
    """The connection has been closed."""


class Answering:
    """The half of a connection that writes.

    Parameters:
        server: with the methods and the limits.
        connected: the socket.
    """

    def __init__(self, server: DirectServer, connected: socket.socket) -> None:
        self._server = server
        self._socket = connected
        self._writing = threading.Lock()
        self._changed = threading.Condition()  # of windows, streams, and the end
        self._windows = Windows()
        self._streams: dict[int, Stream] = {}
        self._closed = False

    def abort(self) -> None:
        """End it at once, with all its calls."""
        with self._changed:
            self._closed = True
            for stream in self._streams.values():
                stream.call.lost = True
                if not stream.complete:
                    self._drop_body(stream)
            self._streams.clear()
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._socket.close()  # it is gone when the file of the thread that reads is, too
        self._server.leave(self)

    def hand_on(self, stream: Stream) -> None:
        """Let another thread read, if there is one and the call's own does."""
        raise NotImplementedError

    def answer(self, stream: Stream) -> None:
        """Answer a call whose request is complete."""
        try:
            call, body = stream.call, stream.body
            assert body is not None
            call.abandon = partial(self._abandon, stream)
            # What protobuf may have to parse is bytes; larger requests are views.
            outcome = stream.method(call, bytes(body) if len(body) < _SMALL_BYTES else body)
            if outcome.code or call.lost:
                self.refuse(stream, outcome, whole=True)
                return
            del body
            self._send(stream, outcome.data)
        finally:
            self.drop(stream)
        stream.method.note(call, outcome)

    def _abandon(self, stream: Stream, error: Exception) -> None:
        """Answer a call whose thread is held by the device; what that says some day is for nobody."""
        with contextlib.suppress(EndedError):
            self.refuse(stream, stream.method.failed(stream.call, error), whole=True)
        self.hand_on(stream)

    def _send(self, stream: Stream, data: bytes) -> None:
        number, size = stream.call.stream, len(data) + PREFIX_BYTES
        message = memoryview(b"\0" + len(data).to_bytes(4, "big") + data)
        with self._changed:
            fits = self._windows.room(stream) >= size
            if fits:
                self._windows.take(stream, size)
        begin, end = frames.answer_headers(number), frames.trailers(number, stream.call.trailing())
        if fits:
            self.write(b"".join([begin, *frames.data_frames(number, message, self._windows.largest), end]))
            return
        # Somebody has to read that the client takes more.
        self.hand_on(stream)
        self.write(begin)
        self._write_slowly(stream, message)
        self.write(end)

    def _write_slowly(self, stream: Stream, message: memoryview) -> None:
        end = time.monotonic() + self._server.patience
        while message:
            with self._changed:
                while (room := self._windows.room(stream)) <= 0:
                    left = end - time.monotonic()
                    if stream.reads or self._closed or stream.call.lost or left <= 0:
                        raise EndedError  # nobody can read that there is room, or nobody will
                    self._changed.wait(left)
                size = min(room, len(message))
                self._windows.take(stream, size)
            parts = frames.data_frames(stream.call.stream, message[:size], self._windows.largest)
            self.write(b"".join(parts))
            message = message[size:]

    def refuse(self, stream: Stream, outcome: Outcome, *, whole: bool = False) -> None:
        """End a call without an answer."""
        if not self.drop(stream):
            return  # it has been answered
        if not stream.call.lost:
            self.end_call(stream.call.stream, outcome, whole=whole)
        stream.method.note(stream.call, outcome)

    def end_call(self, number: int, outcome: Outcome, *, whole: bool) -> None:
        end = frames.trailers_alone(number, outcome.code, outcome.text)
        self.write(end if whole else end + frames.reset(number))

    def drop(self, stream: Stream) -> bool:
        """Forget a call; False if that has been done."""
        with self._changed:
            self._drop_body(stream)
            return self._streams.pop(stream.call.stream, None) is not None

    def _drop_body(self, stream: Stream) -> None:
        held, stream.body = stream.held, None
        self._server.hold(-held)

    def write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._socket.sendall(data)
        except OSError:
            self.abort()
            raise EndedError from None
