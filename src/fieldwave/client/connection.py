"""One channel to one service: made when it is first needed, made anew after a long pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from fieldwave.client.address import is_loopback, is_name
from fieldwave.client.channels import BLOCKING, Channels
from fieldwave.client.credentials import Bearer, Tls

__all__ = ["Connection"]

Options = tuple[tuple[str, str | int], ...]
_OPTIONS: Options = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A service that restarts is back in seconds: do not wait longer than that between attempts, and do not wait
    # with other clients in this process that had no luck.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),
    # A peer that vanished is noticed 10 s after something that it did not confirm, or 70 s after its last word; by
    # calls that are open alone, and not more often, because a server counts three pings in five minutes as abuse.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # the same; newer versions of grpcio go by this one
)
# A name may stand for several replicas: calls go round them, and it is asked again when one of them hangs up, as
# each does now and then (a server's max_connection_age), so that those that came later have their share.
_OF_A_NAME: Options = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
)

Call = Callable[..., Any]


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
        channels: how it waits.

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
        channels: Channels = BLOCKING,
    ) -> None:
        self.target = target
        self.channels = channels
        self.tls = tls
        self.bearer = bearer or Bearer()
        self.closings = 0
        self._credentials = None if tls is None else tls.credentials()
        self._idle = idle.total_seconds()
        self._metadata = metadata
        # Its name says something else, but it is what bounds an attempt to connect.
        self._options: Options = (*_OPTIONS, ("grpc.min_reconnect_backoff_ms", round(connect_seconds * 1000)))
        self._lock = threading.Lock()
        self._channel: Any = None
        self._home: object = None
        self._calls: dict[str, Call] = {}
        self._users = 0
        self._retired = False
        self._last_use = 0.0

    async def call(self, method: str, data: bytes, timeout: float) -> bytes:
        """One attempt at a unary call, bytes in and bytes out.

        Raises:
            grpc.RpcError: it failed.
            ValueError: the connection was closed meanwhile.
        """
        if not self.bearer.known:
            await self.channels.apart(self.bearer.metadata)
        metadata = self._metadata + self.bearer.metadata()
        call, stale = self._take(method)
        try:
            if stale is not None:
                await self.channels.close(stale)
            return await self.channels.call(call, data, timeout, metadata)
        finally:
            if (stale := self._release()) is not None:
                await self.channels.close(stale)

    @contextmanager
    def borrowed(self, method: str) -> Iterator[tuple[Any, tuple[tuple[str, str], ...]]]:
        """The channel's own ``method`` and the metadata of a call, for those who measure calls by themselves."""
        metadata = self._metadata + self.bearer.metadata()
        call, stale = self._take(method)
        try:
            if stale is not None:
                stale.close()
            yield call, metadata
        finally:
            if (stale := self._release()) is not None:
                stale.close()

    async def retire(self) -> None:
        """Close the channel when the calls under way have ended."""
        with self._lock:
            self._retired = True
            channel = None if self._users else self._discard()
        if channel is not None:
            await self.channels.close(channel)

    async def close(self) -> None:
        """Close the channel; the next call makes another."""
        with self._lock:
            self.closings += 1
            channel = self._discard()
        if channel is not None:
            await self.channels.close(channel)

    def _take(self, method: str) -> tuple[Call, Any]:
        """The method to call, counted as in use; and the channel that was too old, for closing."""
        with self._lock:
            home, stale = self.channels.home(), None
            if self._home is not home:
                self._discard()  # its event loop has ended, and it with it
                self._home, self._users = home, 0
            elif not self._users and time.monotonic() - self._last_use > self._idle:
                stale = self._discard()
            if self._channel is None:
                self._channel = self._connect()
            if method not in self._calls:
                self._calls[method] = self._channel.unary_unary(method)
            self._users += 1
            return self._calls[method], stale

    def _release(self) -> Any:
        """Count it as no longer in use; the channel, for closing, if that was the last use of all."""
        with self._lock:
            self._users = max(self._users - 1, 0)
            self._last_use = time.monotonic()
            return self._discard() if self._retired and not self._users else None

    def _connect(self) -> Any:
        options = self._options
        if is_loopback(self.target):
            # A proxy for the network (http_proxy in the environment) is no way to this very machine.
            options = (*options, ("grpc.enable_http_proxy", 0))
        elif is_name(self.target):
            options = (*options, *_OF_A_NAME)
        if self.tls is not None and self.tls.name:
            options = (*options, ("grpc.ssl_target_name_override", self.tls.name))
        return self.channels.open(self.target, self._credentials, options)

    def _discard(self) -> Any:
        channel, self._channel = self._channel, None
        self._calls.clear()
        return channel
