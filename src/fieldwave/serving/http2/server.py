"""A gRPC server in Python that is faster than gRPC's own, for calls of one message each way.

gRPC's Python server hands each call through a completion queue, two threads and its core's buffers. Here the
thread that has read a call's last byte answers it and writes the answer: it waits in ``epoll`` with others, one of
which goes on reading as soon as the call is complete. Nobody holds a thread who has not sent a whole message, and
nobody's answer waits in a thread for its reader.

What is served is described as for gRPC's server, by `grpc.GenericRpcHandler`, and this class has the methods of
that server that are used here; it knows no TLS. Each message of a stream is answered by itself.

HTTP/2 is RFC 9113, HPACK RFC 7541, gRPC https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import grpc

from fieldwave.serving.http2.answering import answer
from fieldwave.serving.http2.connection import ClosedError, Connection
from fieldwave.serving.http2.frames import LARGEST_WINDOW, ConnectionError_
from fieldwave.serving.http2.headers import Head
from fieldwave.serving.http2.listening import Listener, listen
from fieldwave.serving.http2.messages import expanded
from fieldwave.serving.http2.stream import Stream
from fieldwave.serving.http2.upkeep import look_after
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.status import BusyError

__all__ = ["Http2Server"]

_log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 4096
_MOST_STREAMS = 1 << 14
_SWEEP_SECONDS = 0.1
_SPARE_THREADS = 4
_QUICK_SECONDS = 1e-3
_STAY_SECONDS = 1e-3
"""Where calls usually take no longer than the one, a thread that has answered waits for the next so long."""
_LAST_MESSAGES_SECONDS = 1.0
"""How long what is half received may take when the server stops."""

Admit = Callable[[str, Iterable[tuple[str, Any]], str], str | None]
"""Why a call of this method with this metadata by this peer may not pass, or None."""


@dataclass(frozen=True)
class _Details:
    """`grpc.HandlerCallDetails`."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...]


class Http2Server:
    """Answers calls.

    Parameters:
        calls: how many may be in hand; one more is refused.
        largest_message: bytes of the largest request.
        receiving: how many messages may be half received, and for how long.
        patience: how long a new connection may take to say hello, and a client to read what it asked for; seconds.
        age: how long a connection lasts, more or less, in seconds.
        admit: asked before anything of a call's message is received.

    Attributes:
        open: calls that had begun and were not over when it was looked last.
    """

    def __init__(
        self,
        *,
        calls: int,
        largest_message: int,
        receiving: Receiving,
        patience: float,
        age: float,
        admit: Admit = lambda method, metadata, peer: None,
    ) -> None:
        self.largest_message = largest_message
        self.open = 0
        self._calls = calls
        self._receiving = receiving
        self._patience = patience
        self._age = age
        self._admit = admit
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._known: dict[str, Any] = {}
        self._epoll = select.epoll()
        self._unread: deque[Connection] = deque()  # of which something has been read that nobody has looked at
        self._wake = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        weakref.finalize(self, os.close, self._wake)
        self._listeners: dict[int, Listener] = {}
        self._connections: dict[int, Connection] = {}
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._in_hand = 0
        self._stopping = False
        self._stopped = threading.Event()
        self._partial: set[Stream] = set()

    # As grpc.Server.

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Serve what these describe."""
        self._handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """What generated code says once more of handlers that it has added."""

    def add_insecure_port(self, address: str) -> int:
        """Listen on ``HOST:PORT`` or ``unix:PATH``; return the port.

        Raises:
            RuntimeError: it cannot be listened on.
        """
        try:
            listener = listen(address)
        except OSError as error:
            raise RuntimeError(os.strerror(error.errno or 0)) from None
        self._listeners[listener.sock.fileno()] = listener
        return listener.port

    def start(self) -> None:
        """Answer from now on."""
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN | select.EPOLLONESHOT)
        with self._lock:
            self._start_thread()
        threading.Thread(target=self._sweep, name="fieldwave-sweep-grpc", daemon=True).start()

    def stop(self, grace: float) -> threading.Event:
        """Take no more calls; those in hand get ``grace`` seconds. The event is set when that is done."""
        with self._lock:
            self._stopping = True
        for number, listener in self._listeners.items():
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(number)
            listener.sock.close()
        for connection in tuple(self._connections.values()):
            connection.go_away(LARGEST_WINDOW)
        threading.Thread(target=self._finish, args=(grace,), name="fieldwave-stop-grpc", daemon=True).start()
        return self._stopped

    # For connections.

    def handler(self, head: Head) -> Any:
        """Who answers a call; None if nobody does."""
        known = self._known.get(head.path)
        if known is None:
            details = _Details(head.path, head.metadata)
            for one in self._handlers:
                known = one.service(details)
                if known is not None:
                    self._known[head.path] = known
                    break
        return known

    def refusal(self, stream: Stream) -> tuple[grpc.StatusCode, str] | None:
        """Why a call is not taken, before anything of its message is."""
        reason = self._admit(stream.head.path, stream.head.metadata, stream.peer())
        if reason is not None:
            return grpc.StatusCode.UNAUTHENTICATED, reason
        if stream.handler is None:
            return grpc.StatusCode.UNIMPLEMENTED, "Method not found!"
        before = getattr(stream.handler.stream_unary, "before", None)
        refused: tuple[grpc.StatusCode, str] | None = None if before is None else before(stream)
        return refused

    @property
    def full(self) -> bool:
        """Whether so many calls have begun on all connections that no more may."""
        return self.open >= _MOST_STREAMS

    def expand(self, stream: Stream, data: memoryview) -> memoryview:
        """A message that was sent compressed.

        Raises:
            TooLargeError, UnreadableError: as `expanded`.
        """
        return expanded(data, stream.head.encoding, self.largest_message)

    def received(self, stream: Stream) -> None:
        """Nothing is waited for in this stream any more."""
        if stream in self._partial:
            with self._lock:
                self._partial.discard(stream)
            self._receiving.leave(stream)

    def arm(self, connection: Connection) -> None:
        """Have a thread woken when there is something to read, or room to write what is left."""
        # What has been read already the system does not tell of; who finds it done by another loses nothing.
        if connection.ready:
            self._unread.append(connection)
            os.eventfd_write(self._wake, 1)
        with connection.lock, contextlib.suppress(OSError, ValueError):
            events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
            if connection.blocked:
                events |= select.EPOLLOUT
            self._epoll.modify(connection.socket.fileno(), events)

    def left(self, connection: Connection) -> None:
        """A connection is about to be closed."""
        number = connection.socket.fileno()
        with contextlib.suppress(OSError, ValueError):
            self._epoll.unregister(number)
        with self._lock:
            if self._connections.get(number) is connection:
                del self._connections[number]

    # Threads.

    def _start_thread(self) -> None:
        if len(self._threads) >= self._calls + _SPARE_THREADS:
            return
        thread = threading.Thread(target=self._work, name=f"fieldwave-grpc_{len(self._threads)}", daemon=True)
        self._threads.add(thread)
        self._idle += 1
        thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                events = self._epoll.poll(1.0, 1)
            except (OSError, ValueError):
                return  # closed
            for number, event in events:
                with self._lock:
                    self._idle -= 1
                    if not self._idle:
                        self._start_thread()
                connection = self._connections.get(number)
                try:
                    if number == self._wake:
                        connection, event = self._next_unread(), 0
                    if number in self._listeners:
                        self._accept(number)
                    elif connection is not None:
                        self._serve(connection, event)
                except Exception:
                    _log.exception("a connection is given up")
                    if connection is not None:
                        connection.close()
                finally:
                    with self._lock:
                        self._idle += 1

    def _next_unread(self) -> Connection | None:
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return None  # another thread was first
        return self._unread.popleft()

    def _accept(self, number: int) -> None:
        try:
            found = self._listeners[number].accept()
        except OSError:
            return  # closed: the server stops
        if not self._stopping:
            with contextlib.suppress(OSError, ValueError):
                self._epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)
        if found is None:
            return
        sock, peer = found
        if len(self._connections) >= _MOST_CONNECTIONS or self._stopping:
            sock.close()
            return
        # A tenth more or less, so that not all come again at once.
        connection = Connection(self, sock, peer, self._age * random.uniform(0.9, 1.1))
        with self._lock:
            self._connections[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT)

    def _serve(self, connection: Connection, event: int) -> None:
        """One turn at reading."""
        turn = connection.take()
        if turn is None:
            return  # armed twice; whoever reads arms it again
        stays = False
        try:
            if event & select.EPOLLOUT:
                connection.flush()
            while True:
                found = connection.receive()
                if found is None:
                    self._note_partial(connection)
                    if stays and connection.soon(_STAY_SECONDS):
                        continue
                    break
                # Where answers are quick, to hand the connection on takes longer than they do.
                stays = connection.usual < _QUICK_SECONDS
                begin = time.perf_counter()
                if stays:
                    connection.stay(begin)
                else:
                    connection.release(turn)
                self._call(*found)
                connection.usual += 0.1 * (time.perf_counter() - begin - connection.usual)
                if not stays or not connection.resume(turn):
                    return
        except ConnectionError_ as error:
            connection.break_off(error)
        except (ClosedError, OSError):
            connection.close()
        connection.release(turn)

    def _call(self, stream: Stream, data: memoryview) -> None:
        with self._lock:
            refused = self._in_hand >= self._calls
            self._in_hand += not refused
        if refused:
            stream.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            return
        try:
            answer(stream, data)
        finally:
            with self._lock:
                self._in_hand -= 1

    def _note_partial(self, connection: Connection) -> None:
        """What is half received counts."""
        for stream in tuple(connection.streams.values()):
            if stream.taken or not stream.messages.begun or stream in self._partial:
                continue
            try:
                self._receiving.enter(stream, stream.peer())
            except BusyError as error:
                stream.fail(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
                continue
            with self._lock:
                self._partial.add(stream)
            if stream.over:  # it ended meanwhile
                self.received(stream)

    # Time.

    def _sweep(self) -> None:
        while not self._stopped.wait(min(_SWEEP_SECONDS, self._patience)):
            now = time.monotonic()
            connections = tuple(self._connections.values())
            self.open = sum(len(connection.streams) for connection in connections)
            for connection in connections:
                try:
                    look_after(connection, now, self._patience)
                except Exception:
                    _log.exception("a connection is given up")
                    connection.close()

    def _finish(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        last = time.monotonic() + min(grace, _LAST_MESSAGES_SECONDS)
        while time.monotonic() < deadline:
            connections = tuple(self._connections.values())
            if not any(connection.streams or connection.unread for connection in connections):
                break
            if time.monotonic() >= last:
                for connection in connections:
                    for stream in tuple(connection.streams.values()):
                        if not stream.taken:
                            stream.cancel()
            time.sleep(0.005)
        for connection in tuple(self._connections.values()):
            connection.go_away()
            connection.close()
        self._stopped.set()
        self._epoll.close()
