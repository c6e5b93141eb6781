"""One call of a client, whichever protocol it came by."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from fieldwave.serving.caller import Caller
from fieldwave.serving.timings import Timings
from fieldwave.wire.methods import REQUEST_ID_KEY, TIMINGS_KEY

__all__ = ["Call", "GrpcCall", "client_of", "request_id"]

_FIRST_ID, _count = secrets.randbits(64), itertools.count()
"""Ids count from a place that no other process begins at; nothing is kept from whoever guesses one."""
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


class Call(Caller, Protocol):
    """A call that is to be answered with a prediction.

    Attributes:
        request_id: by which logs and answers speak of it.
        timings: filled while it is answered.
    """

    request_id: str
    timings: Timings


class GrpcCall:
    """A `Call` that came by gRPC.

    Attributes:
        context: gRPC's own of the call.
        metadata: what the client sent beside the request.
        begin: when the request was complete, by `time.perf_counter`.
        abandon: answers it with an error, from another thread; None where only its own thread can answer.
    """

    __slots__ = (
        "abandon", "begin", "client", "context", "is_active", "metadata", "request_id", "time_remaining",
        "timings",
    )  # fmt: skip

    def __init__(self, context: Any) -> None:
        self.context = context
        self.begin = time.perf_counter()
        self.is_active = context.is_active
        self.time_remaining = context.time_remaining
        self.client = client_of(context.peer())
        # Each is a pair of its own kind in gRPC's server, which dict() takes as one.
        self.metadata: Mapping[str, str | bytes] = dict(context.invocation_metadata())
        self.request_id = request_id(self.metadata.get(REQUEST_ID_KEY))
        self.timings = Timings()
        self.abandon: Callable[[Exception], None] | None = None

    def answer(self) -> None:
        """Put what the client asked for beside the answer or the refusal: the id, and where the time went."""
        timed = TIMINGS_KEY in self.metadata
        if timed or REQUEST_ID_KEY in self.metadata:
            times = ((TIMINGS_KEY, self.timings.header()),) * timed
            self.context.set_trailing_metadata(((REQUEST_ID_KEY, self.request_id), *times))


def request_id(given: object) -> str:
    """The id that a client gave its request, if it is one that a log can hold, or a new one."""
    if isinstance(given, str) and _ID.fullmatch(given):
        return given
    return f"{(_FIRST_ID + next(_count)) % (1 << 64):016x}"


def client_of(peer: str) -> str:
    """What all calls of a client have in common: the machine, or on this machine the connection.

    Parameters:
        peer: as gRPC names it: ``ipv4:192.0.2.7:40312``, ``ipv6:%5B::1%5D:40312``, ``unix:``.
    """
    host = peer.rpartition(":")[0]
    return peer if host in ("ipv4:127.0.0.1", "ipv6:%5B::1%5D", "ipv6:[::1]") else host
