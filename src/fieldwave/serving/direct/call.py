"""One call on a connection of `fieldwave.serving.direct`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from fieldwave.serving.call import request_id
from fieldwave.serving.timings import Timings
from fieldwave.wire.methods import REQUEST_ID_KEY, TIMINGS_KEY

__all__ = ["DirectCall", "seconds_of"]

_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class DirectCall:
    """A `fieldwave.serving.call.Call`.

    Attributes:
        stream: its number on its connection.
        request_id: by which logs and answers speak of it.
        metadata: what the client sent beside the request; of a name that comes twice, the last.
        begin: when the request was complete, by `time.perf_counter`.
        lost: whether the client has cancelled it, or is gone, or has been answered by another thread.
        abandon: answers it with an error, from another thread.
    """

    __slots__ = ("_deadline", "abandon", "begin", "client", "lost", "metadata", "request_id", "stream", "timings")

    def __init__(self, stream: int, client: str, metadata: Mapping[str, str | bytes]) -> None:
        self.stream = stream
        self.client = client
        self.metadata = metadata
        self.begin = time.perf_counter()
        self.lost = False
        self.abandon: Callable[[Exception], None] | None = None
        self.timings = Timings()
        self.request_id = request_id(metadata.get(REQUEST_ID_KEY))
        patience = seconds_of(metadata.get("grpc-timeout"))
        self._deadline = None if patience is None else time.monotonic() + patience

    def is_active(self) -> bool:
        return not self.lost

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()

    def trailing(self) -> list[tuple[str, str]]:
        """What the client asked for beside the answer: its request's id, and where the time went."""
        asked = []
        if REQUEST_ID_KEY in self.metadata:
            asked.append((REQUEST_ID_KEY, self.request_id))
        if TIMINGS_KEY in self.metadata:
            asked.append((TIMINGS_KEY, self.timings.header()))
        return asked


def seconds_of(timeout: object) -> float | None:
    """Of a ``grpc-timeout``; None where there is none, or none that can be read."""
    found = _TIMEOUT.fullmatch(timeout) if isinstance(timeout, str) else None
    return None if found is None else int(found[1]) * _UNITS[found[2]]
