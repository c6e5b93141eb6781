"""One caller's requests to a Fieldwave service, each with the service's own account of where its time went."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import grpc

from fieldwave.bench.protocols import Request
from fieldwave.client.connection import Connection
from fieldwave.errors import InputError, ServiceError
from fieldwave.wire.methods import TIMINGS_KEY

__all__ = ["ASK", "OUTSIDE", "said", "sample_stages"]

ASK = ((TIMINGS_KEY, "1"),)
"""The metadata by which a service is asked."""
OUTSIDE = "outside"
"""What the service does not account for: the wire, and gRPC on both sides."""

_STAGE = re.compile(r"([\w-]+);dur=([\d.]+)")


def said(call: Any) -> dict[str, float]:
    """Milliseconds by stage, as the service says in the trailers of a call (``Server-Timing``, W3C)."""
    trailers = dict(tuple(item) for item in call.trailing_metadata() or ())
    return {name: float(milliseconds) for name, milliseconds in _STAGE.findall(trailers.get(TIMINGS_KEY, ""))}


def sample_stages(
    connections: Sequence[Connection], request: Request, *, seconds: float = 3.0, timeout: float = 30.0
) -> dict[str, list[float]]:
    """Seconds of each stage and `OUTSIDE`, of one request after the other for so long, at least three.

    Raises:
        ServiceError: the service failed.
        InputError: it does not say where its time goes.
    """
    samples: dict[str, list[float]] = {}
    count, begin = -3, time.perf_counter()  # the first three are for warming up
    while count < 3 or time.perf_counter() - begin < seconds:
        connection = connections[count % len(connections)]
        with connection.borrowed(request.method) as (call, metadata):
            sent = time.perf_counter()
            try:
                _, one = call.with_call(request.data, timeout=timeout, metadata=(*metadata, *ASK))
            except grpc.RpcError as error:
                text = " ".join((error.details() or "").split())
                code = error.code().name
                raise ServiceError(f"{connection.target} answered {code}: {text}", code) from error
            took = time.perf_counter() - sent
        stages = {name: milliseconds / 1e3 for name, milliseconds in said(one).items()}
        if not stages:
            raise InputError(f"{connection.target} does not say where its time goes: it is no Fieldwave service")
        stages[OUTSIDE] = max(took - sum(stages.values()), 0.0)
        if count >= 0:
            for name, value in stages.items():
                samples.setdefault(name, []).append(value)
        count += 1
    return samples
