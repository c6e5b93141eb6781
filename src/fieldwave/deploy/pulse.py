"""Asking a serving process, as any caller would, whether it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc

from fieldwave.wire.messages import HealthCheckResponse
from fieldwave.wire.methods import HEALTH_CHECK

__all__ = ["pulse"]

_SECONDS = 4.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@contextmanager
def pulse(address: str) -> Iterator[Callable[[], str | None]]:
    """A question for whoever serves health checks in plain text at ``address``.

    Its answer: empty when all is well, what the trouble is when not, None when there is no answer within 4 s.
    """
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        check = channel.unary_unary(HEALTH_CHECK)

        def ask() -> str | None:
            try:
                answer = check(b"", timeout=_SECONDS)
            except grpc.RpcError as error:
                # Too busy to answer is an answer.
                return "" if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else None
            well = HealthCheckResponse.FromString(answer).status == HealthCheckResponse.SERVING
            return "" if well else "its device does not answer, see its log"

        yield ask
