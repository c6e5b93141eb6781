"""An HTTP server of one event loop: it holds thousands of connections that say nothing, at 20 kB each.

h11 parses: it is strict, knows no I/O and needs nothing else; its state machine refuses what other servers were
smuggled requests through. What takes time is done in threads. uvicorn would bring an application protocol (ASGI)
and no limit for slow senders; waitress knows no TLS; the standard library's server a thread for each connection.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from fieldwave.errors import ServiceError
from fieldwave.serving.http.connection import Connection
from fieldwave.serving.http.exchange import Head, HttpCall, Refusal, Response, Route
from fieldwave.serving.listen import check_free
from fieldwave.serving.memory import give_back_memory

__all__ = ["Application", "HttpServer"]

_MOST_CONNECTIONS = 2048
_BACKLOG = 512
_LARGE_BYTES = 1 << 20
_FEW = 4
"""So many large bodies beside another hinder nobody."""
_KEPT_BYTES = 64 << 20
"""After bodies of more than that at once, memory is given back to the system."""


class Application(Protocol):
    """What a server serves."""

    def route(self, head: Head) -> Route:
        """Who answers a request; called before its body is read.

        Raises:
            Refusal: nobody does.
        """

    def respond(self, route: Route, body: bytes, call: HttpCall) -> Response:
        """The answer of ``route``, and of its errors."""

    def refused(self, protocol: str, code: str) -> None:
        """Told when a request was answered without being read to its end."""


class HttpServer:
    """Serves an application from a thread of its own.

    Parameters:
        application: what is served.
        threads: for answers that take time.
        patience: how long a request may take to arrive, and an answer to be read, in seconds.
        max_held_bytes: of bodies that are being received, all together.
    """

    def __init__(self, application: Application, *, threads: int, patience: float, max_held_bytes: int) -> None:
        self.patience = patience
        self._application = application
        self._max_held_bytes = max_held_bytes
        self._held = self._most_held = 0
        self._connections: set[Connection] = set()
        self._large: set[Connection] = set()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fieldwave-http")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fieldwave-http", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen and answer; return the port.

        Raises:
            ConflictError, InputError, ServiceError: as `fieldwave.serving.listen.listen`.
        """
        check_free(host, port, "--http-port")
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(
                self._loop.create_server(
                    lambda: Connection(self),
                    host.strip("[]"),
                    port,
                    ssl=context,
                    backlog=_BACKLOG,
                    ssl_handshake_timeout=None if context is None else self.patience,
                ),
                self._loop,
            ).result()
        except OSError as error:
            raise ServiceError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        return int(self._server.sockets[0].getsockname()[1])

    def stop(self, grace: float) -> None:
        """Take no more connections; requests in hand get ``grace`` seconds."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        self._loop.call_soon_threadsafe(self._finish)
        deadline = time.monotonic() + grace
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.01)
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def enter(self, connection: Connection) -> bool:
        """Whether there is room for another connection."""
        if len(self._connections) >= _MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """A connection has been closed."""
        self._connections.discard(connection)
        self._large.discard(connection)

    def hold(self, size: int, holder: Connection | None = None) -> None:
        """So many more bytes of bodies are in memory.

        When they are too many, the largest body that is still being received makes room.

        Parameters:
            holder: whose they are; None where some are gone.

        Raises:
            Refusal: they are too many, and that body is the holder's own.
        """
        while holder is not None and self._held + size > self._max_held_bytes:
            refusal = Refusal(
                503, "too much is being received; try again later", ("retry-after", "1"), code="RESOURCE_EXHAUSTED"
            )
            largest = max(self._connections, key=lambda each: each.receiving, default=holder)
            if largest.receiving <= holder.receiving + size:
                raise refusal
            largest.make_room(refusal)
        self._held += size
        self._most_held = max(self._most_held, self._held)
        if not self._held and self._most_held > _KEPT_BYTES:
            # What the flood has left is in arenas that are never trimmed by themselves.
            self._most_held = 0
            self._loop.run_in_executor(self._pool, give_back_memory)

    def pause(self, connection: Connection) -> float:
        """For how many seconds not to read from a connection: who sends much waits for others who do.

        However many large bodies come at once, the loop has time for small ones: between two parts of one
        (256 KiB at the most) there is a millisecond for each other.
        """
        if connection.receiving < _LARGE_BYTES:
            return 0.0
        self._large = {each for each in self._large if each.receiving >= _LARGE_BYTES} | {connection}
        others = len(self._large) - 1
        return 1e-3 * others if others >= _FEW else 0.0

    def route(self, head: Head) -> Route:
        """As `Application.route`."""
        return self._application.route(head)

    def refused(self, protocol: str, code: str) -> None:
        """As `Application.refused`."""
        self._application.refused(protocol, code)

    def answer(self, route: Route, body: bytes, call: HttpCall, respond: Callable[[Response], None]) -> None:
        """Make an answer, in a thread if that takes time, and ``respond`` with it."""
        if not route.slow:
            respond(self._application.respond(route, body, call))
            return
        future = self._loop.run_in_executor(self._pool, self._application.respond, route, body, call)
        future.add_done_callback(lambda done: None if done.cancelled() else respond(done.result()))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def _finish(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.finish()

    def _end(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()
        self._loop.call_soon(self._loop.stop)
