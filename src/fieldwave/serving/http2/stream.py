"""One call: what its handler is given as its context, and its answer's way to the connection."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from fieldwave.serving.http2.headers import ANSWER, Head, deadline, trailers
from fieldwave.serving.http2.messages import Messages, prefix
from fieldwave.serving.http2.output import headers_frame

if TYPE_CHECKING:
    from fieldwave.serving.http2.connection import Connection

__all__ = ["AbortedError", "Stream"]


class AbortedError(Exception):
    """The handler has ended the call with a status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)


class Stream:
    """A call; for its handler it is what `grpc.ServicerContext` describes, as far as handlers use that.

    Attributes:
        id: of the stream.
        handler: who answers, a `grpc.RpcMethodHandler`.
        messages: that are being received.
        since: when it began, or its last message was answered, by `time.monotonic`.
        taken: its only message has been given to the handler; what follows is thrown away.
        half_closed: the caller has sent all that it will send.
        ended: its answer, or an error in its place, has been given to the connection.
        over: answered, cancelled or lost.
        call: what its handler knew of it before its message came.
        queue, busy: messages of a stream that has several, and whether a thread answers them.
    """

    __slots__ = (
        "_answering", "_callbacks", "_code", "_connection", "_deadline", "_details", "_trailing", "busy", "call",
        "ended", "half_closed", "handler", "head", "id", "messages", "over", "queue", "since", "taken",
    )  # fmt: skip

    def __init__(self, connection: Connection, id: int, head: Head, handler: Any, limit: int) -> None:
        self._connection = connection
        self.id = id
        self.head = head
        self.handler = handler
        self.messages = Messages(limit)
        self.since = time.monotonic()
        self.taken = self.half_closed = self.over = self.busy = self.ended = self._answering = False
        self.call: Any = None
        self.queue: deque[memoryview] = deque()
        self._deadline = deadline(head)
        self._trailing: Sequence[tuple[str, Any]] = ()
        self._callbacks: list[Callable[[], None]] | None = []
        self._code: grpc.StatusCode = grpc.StatusCode.OK
        self._details = ""

    # What handlers ask and say.

    def peer(self) -> str:
        return self._connection.peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self.head.metadata

    def is_active(self) -> bool:
        return not self.over and (self._deadline is None or time.monotonic() < self._deadline)

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, Any]]) -> None:
        self._trailing = metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise AbortedError(code, details)

    def cancel(self) -> None:
        """End it; its caller sees CANCELLED."""
        self._connection.cancel(self)

    def abandon(self, code: grpc.StatusCode, text: str) -> None:
        """Answer for the thread that should, which something holds; others read its connection from now on."""
        self.fail(code, text)
        self._connection.relieve()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have it called when the call is over."""
        if self._callbacks is None:
            return False
        self._callbacks.append(callback)
        return True

    # What the server does with it.

    def expired(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def send(self, data: bytes) -> None:
        """One message of an answer that has several."""
        head = b"" if self._answering else headers_frame(self.id, ANSWER, end=False)
        self._answering = True
        self._connection.answer(self, head, (prefix(data), data), b"")

    def end(self, data: bytes | None = None) -> None:
        """The answer, or the end of those that were sent."""
        if self._code is not grpc.StatusCode.OK:
            self.fail(self._code, self._details)
            return
        head = b"" if self._answering else headers_frame(self.id, ANSWER, end=False)
        after = headers_frame(self.id, trailers(grpc.StatusCode.OK, "", self._trailing), end=True)
        self._connection.answer(self, head, () if data is None else (prefix(data), data), after)

    def fail(self, code: grpc.StatusCode, text: str) -> None:
        """End it with a status that is not OK."""
        block = trailers(code, text, self._trailing, alone=not self._answering)
        self._connection.answer(self, b"", (), headers_frame(self.id, block, end=True))

    def next_message(self) -> memoryview | None:
        """As `Connection.next_message`."""
        return self._connection.next_message(self)

    def finished(self) -> None:
        """It is over; whoever wanted to know is told, from a thread that holds none of their locks."""
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            threading.Thread(target=callback, daemon=True).start()
