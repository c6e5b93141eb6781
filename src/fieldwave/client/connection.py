"""One channel to one service: made when it is first needed, made anew after a long pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc

from fieldwave.client.address import is_loopback
from fieldwave.client.credentials import Bearer, Tls

__all__ = ["Connection"]

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A service that restarts is back in seconds: do not wait longer than that between attempts, and do not wait
    # with other clients in this process that had no luck.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
)

Call = Callable[..., bytes]


class Connection:
    """A channel to ``target``, safe to use from several threads.

    Parameters:
        target: ``host:port``.
        tls: None for plain text.
        idle: a channel that nobody has used for so long is replaced, because load balancers forget silent
            connections without telling.
        metadata: sent with every call.
        connect_seconds: how long a service may take to accept a connection.
        bearer: the key or token that is sent with every call, too.

    Attributes:
        closings: how often `close` was called; a call that finds it changed was ended by its own side.
    """

    def __init__(
        self,
        target: str,
        tls: Tls | None,
        idle: timedelta,
        metadata: tuple[tuple[str, str], ...] = (),
        connect_seconds: float = 20.0,
        bearer: Bearer | None = None,
    ) -> None:
        self.target = target
        self.tls = tls
        self.bearer = bearer or Bearer()
        self.closings = 0
        self._credentials = None if tls is None else tls.credentials()
        self._idle = idle.total_seconds()
        self._metadata = metadata
        # Its name says something else, but it is what bounds an attempt to connect.
        self._options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(connect_seconds * 1000)))
        self._lock = threading.Lock()
        self._channel: grpc.Channel | None = None
        self._calls: dict[str, Call] = {}
        self._users = 0
        self._last_use = 0.0

    def call(self, method: str, data: bytes, timeout: float) -> bytes:
        """One attempt at a unary call, bytes in and bytes out.

        Raises:
            grpc.RpcError: it failed.
        """
        metadata = self._metadata + self.bearer.metadata()
        with self._in_use(method) as call:
            return call(data, timeout=timeout, metadata=metadata)

    def close(self) -> None:
        """Close the channel; the next call makes another."""
        with self._lock:
            self.closings += 1
            self._discard()

    @contextmanager
    def _in_use(self, method: str) -> Iterator[Call]:
        with self._lock:
            if not self._users and time.monotonic() - self._last_use > self._idle:
                self._discard()
            if self._channel is None:
                self._channel = self._connect()
            if method not in self._calls:
                self._calls[method] = self._channel.unary_unary(method)
            call = self._calls[method]
            self._users += 1
        try:
            yield call
        finally:
            with self._lock:
                self._users -= 1
                self._last_use = time.monotonic()

    def _connect(self) -> Any:
        # A proxy for the network (http_proxy in the environment) is no way to this very machine.
        near = is_loopback(self.target)
        options = (*self._options, ("grpc.enable_http_proxy", 0)) if near else self._options
        if self._credentials is None:
            return grpc.insecure_channel(self.target, options=options)
        if self.tls is not None and self.tls.name:
            options = (*options, ("grpc.ssl_target_name_override", self.tls.name))
        return grpc.secure_channel(self.target, self._credentials, options=options)

    def _discard(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = None
        self._calls.clear()
