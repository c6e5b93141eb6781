"""The gRPC side of a service: its port, its socket, and how many calls there may be."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from fieldwave.serving.authentication import Authentication
from fieldwave.serving.certificates import server_credentials
from fieldwave.serving.health import Health
from fieldwave.serving.http2 import Http2Server
from fieldwave.serving.listen import listen, listen_on_socket
from fieldwave.serving.memory import give_back_memory
from fieldwave.serving.options import ServeOptions
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.reflect import add_reflection

__all__ = ["GrpcFront"]

# Every call that is let in has a thread: whoever says nothing keeps nobody else waiting. So each kind has a limit,
# and what remains beyond them answers those that are refused.
_SPARE_RECEIVERS = 24
_REFLECTIONS = 8
_CHECKS = 24
_SPARE_CALLS = 64

_CROWD = 12
"""When so many calls waited for their messages at once, and do no more, memory is given back to the system."""

_LAST_REQUEST_SECONDS = 1.0
"""How long a request that is on its way may take to arrive when the service stops."""


class GrpcFront:
    """Receives calls and answers those that may be answered.

    Parameters:
        options: where to listen, and the limits.
        authentication: who may call; None for everybody.

    Attributes:
        receiving: where the requests of the services are waited for.
    """

    def __init__(self, options: ServeOptions, authentication: Authentication | None) -> None:
        self._options = options
        self.receiving = Receiving(options.places + _SPARE_RECEIVERS, options.receive_seconds)
        self._reflections = Receiving(_REFLECTIONS, options.receive_seconds)
        self._checks = Receiving(_CHECKS, options.receive_seconds)
        self._crowded = False
        self._socket: Path | None = None
        # In plain text by our own server; where there is TLS, its port is gRPC's own.
        tls = options.tls_cert is not None
        own = not tls or options.socket is not None
        self._plain: Any = _own_server(options, authentication, self.receiving) if own else None
        self._tls: Any = _grpc_server(options, authentication) if tls else None

    def listen(self, handlers: Iterable[grpc.GenericRpcHandler], health: Health) -> int:
        """Take the port and the socket for these services, health and reflection; return the port.

        Raises:
            ConflictError, InputError, ServiceError: as `fieldwave.serving.listen.listen`.
            NotFoundError, InputError, StorageError: of the certificates.
        """
        options = self._options
        handlers = tuple(handlers)
        for server in self._servers:
            server.add_generic_rpc_handlers(handlers)
            health.add_to(server, self._checks)
            add_reflection(server, self._reflections)
        credentials = None
        if options.tls_cert is not None and options.tls_key is not None:
            credentials = server_credentials(options.tls_cert, options.tls_key, options.client_ca)
        port = listen(self._tls or self._plain, options.host, options.grpc_port, credentials)
        if options.socket is not None:
            listen_on_socket(self._plain, options.socket)
            self._socket = options.socket
        return port

    @property
    def _servers(self) -> tuple[Any, ...]:
        return tuple(server for server in (self._plain, self._tls) if server is not None)

    def start(self) -> None:
        """Answer from now on."""
        for server in self._servers:
            server.start()

    def end_overdue(self) -> None:
        """End the calls whose message does not come, and leave nothing of a flood of them in memory."""
        for receiving in (self.receiving, self._reflections, self._checks):
            receiving.end_overdue()
        crowded, self._crowded = self._crowded, self.receiving.crowd() >= _CROWD
        if crowded and not self._crowded:
            give_back_memory()

    def stop(self, grace: float) -> None:
        """Take no more calls; those in hand get ``grace`` seconds, those that are still arriving one of them."""
        done = [server.stop(grace) for server in self._servers]
        self._reflections.end()
        last = time.monotonic() + min(grace, _LAST_REQUEST_SECONDS)
        if not all(each.wait(max(0.0, last - time.monotonic())) for each in done):
            self.receiving.end()
            self._checks.end()
        for each in done:
            each.wait()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)


def _own_server(options: ServeOptions, authentication: Authentication | None, receiving: Receiving) -> Any:
    return Http2Server(
        calls=4 * options.workers + _CHECKS + _SPARE_CALLS,
        largest_message=options.max_message_bytes,
        receiving=receiving,
        patience=options.receive_seconds,
        age=options.max_connection_age_seconds,
        **({} if authentication is None else {"admit": authentication.admit}),
    )


def _grpc_server(options: ServeOptions, authentication: Authentication | None) -> Any:
    # Predictions are received first and then in hand, each kind up to its limit.
    calls = 4 * options.workers + _SPARE_RECEIVERS + _REFLECTIONS + _CHECKS + _SPARE_CALLS
    return grpc.server(
        futures.ThreadPoolExecutor(calls, thread_name_prefix="fieldwave-grpc"),
        interceptors=() if authentication is None else (authentication,),
        maximum_concurrent_rpcs=calls,
        options=(
            ("grpc.so_reuseport", 0),  # or a second server would share the port without a word
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # Who connects and says nothing, not even hello, is not kept for the two minutes that gRPC would.
            ("grpc.server_handshake_timeout_ms", round(1000 * min(options.receive_seconds, 120.0))),
            ("grpc.keepalive_time_ms", 60_000),  # a peer that vanished in mid-call must not hold its place
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # a client that asks after us does no harm
            ("grpc.max_connection_age_ms", round(1000 * min(options.max_connection_age_seconds, 1e6))),
        ),
    )
