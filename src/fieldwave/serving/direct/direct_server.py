"""Listens, and holds what the connections share."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from fieldwave.errors import ServiceError
from fieldwave.serving.authentication import Authentication
from fieldwave.serving.call import client_of
from fieldwave.serving.direct.answering import Answering
from fieldwave.serving.direct.connection import Connection
from fieldwave.serving.direct.methods import DirectMethod, found
from fieldwave.serving.listen import check_free
from fieldwave.wire.methods import HEALTH_CHECK

__all__ = ["DirectServer"]

_MOST_CONNECTIONS = 256
_HELD_MESSAGES = 8
"""So many of the largest requests fit into the memory for what clients are sending."""
_BACKLOG = 128
_LOOK_SECONDS = 0.02


class DirectServer:
    """Serves the methods of some services, each connection by threads of its own.

    Parameters:
        handlers: of the services, made with `fieldwave.serving.direct.DirectMethods`.
        authentication: who may call; None for everybody.
        max_message_bytes: the largest request.
        patience: seconds that a request may take to arrive, or an answer to be read.
        threads: that may answer while another of the same connection reads; all together.
        max_age: seconds that a connection lasts.
    """

    def __init__(
        self,
        handlers: Iterable[Any],
        authentication: Authentication | None,
        *,
        max_message_bytes: int,
        patience: float,
        threads: int,
        max_age: float,
    ) -> None:
        self.max_message_bytes = max_message_bytes
        self.patience = patience
        self._handlers = tuple(handlers)
        self._authentication = authentication
        self._max_age = max_age
        self._methods: dict[str, DirectMethod] = {}
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._free_threads = threads
        self._held = 0
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int, *, option: str = "--direct-port") -> int:
        """Listen and answer; return the port.

        Raises:
            ConflictError, InputError, ServiceError: as `fieldwave.serving.listen.listen`.
        """
        check_free(host, port, option)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ServiceError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        self._listening = listening
        self._thread = threading.Thread(
            target=self._accept, args=(listening,), name="fieldwave-direct", daemon=True
        )
        self._thread.start()
        return int(listening.getsockname()[1])

    def stop(self, grace: float) -> None:
        """Take no more calls; those in hand get ``grace`` seconds."""
        if self._listening is None or self._thread is None:
            return
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which ends accept
        self._thread.join()
        self._listening.close()
        deadline = time.monotonic() + grace
        for connection in self._all():
            connection.finish()
        while not all(connection.finished for connection in self._all()) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        for connection in self._all():
            connection.abort()

    def end_overdue(self) -> None:
        """End the connections whose requests do not come; let those go that are old."""
        now = time.monotonic()
        for connection in self._all():
            if connection.overdue(now - self.patience) or connection.finished:
                connection.abort()
            elif now - connection.begin > self._max_age:
                connection.finish()

    def method(self, path: str) -> DirectMethod | None:
        """What answers at a path."""
        method = self._methods.get(path)
        if method is None and (method := found(self._handlers, path)) is not None:
            self._methods[path] = method
        return method

    def objection(self, path: str, keys: Sequence[str], client: str) -> str | None:
        """Why a client may not call; None if it may."""
        if self._authentication is None or path == HEALTH_CHECK:
            return None
        return self._authentication.objection(keys, client)

    def hold(self, size: int) -> bool:
        """So many more bytes of requests are in memory; False if they are too many, and then they are not."""
        with self._lock:
            if size > 0 and self._held + size > _HELD_MESSAGES * self.max_message_bytes:
                return False
            self._held += size
            return True

    def lend_thread(self, connection: Connection) -> bool:
        """Another thread for a connection; False if there are too many."""
        with self._lock:
            if not self._free_threads:
                return False
            self._free_threads -= 1
        threading.Thread(target=self._lent, args=(connection,), name="fieldwave-direct", daemon=True).start()
        return True

    def leave(self, connection: Answering) -> None:
        """A connection has ended."""
        with self._lock:
            self._connections.discard(connection)

    def _lent(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._free_threads += 1

    def _all(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connected, peer = listening.accept()
            except OSError:
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            # Who does not read an answer does not stay.
            wait = struct.pack("ll", int(self.patience), int(self.patience % 1 * 1e6))
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            kind, host = ("ipv6", f"[{peer[0]}]") if ":" in peer[0] else ("ipv4", peer[0])
            connection = Connection(self, connected, client_of(f"{kind}:{host}:{peer[1]}"))
            with self._lock:
                taken = len(self._connections) < _MOST_CONNECTIONS
                if taken:
                    self._connections.add(connection)
            if taken:
                threading.Thread(target=connection.serve, name="fieldwave-direct", daemon=True).start()
            else:
                connection.abort()
