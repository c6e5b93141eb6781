"""One request and its response."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fieldwave.serving.call import request_id
from fieldwave.serving.timings import Timings
from fieldwave.wire.methods import REQUEST_ID_KEY

__all__ = ["JSON", "Head", "HttpCall", "Refusal", "Response", "Route"]

JSON = "application/json"
TIMEOUT_HEADER = "x-request-timeout-ms"


@dataclass(frozen=True)
class Head:
    """A request without its body.

    Attributes:
        method: in capitals.
        path: decoded, without the query.
        headers: by name in lower case; of each all values in their order.
        query: what stands after the question mark, as it was sent.
    """

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    query: str = ""

    def header(self, name: str) -> str | None:
        """The last value of a header; None if it is not there."""
        values = self.headers.get(name)
        return values[-1] if values else None


@dataclass(frozen=True)
class Response:
    """What is answered.

    Attributes:
        status: of HTTP.
        body: in parts.
        code: the gRPC status that it corresponds to, for the metrics.
        text: what the client is told in place of an answer, for the log.
    """

    status: int = 200
    body: Sequence[bytes | memoryview] = ()
    headers: tuple[tuple[str, str], ...] = (("content-type", JSON),)
    code: str = "OK"
    text: str = ""


class Refusal(Exception):
    """A request is answered with an error of HTTP."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str], code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers
        self.code = code


class HttpCall:
    """A `fieldwave.serving.call.Call` that came by HTTP.

    Attributes:
        lost: whether the client has closed the connection.
    """

    def __init__(self, head: Head, client: str) -> None:
        self.client = client
        self.request_id = request_id(head.header(REQUEST_ID_KEY))
        self.timings = Timings()
        self.begin = time.perf_counter()
        self.lost = False
        self._deadline = _deadline(head)

    def is_active(self) -> bool:
        return not self.lost

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else self._deadline - time.monotonic()


@dataclass(frozen=True)
class Route:
    """Who answers a request.

    Attributes:
        protocol: its name in metrics and logs.
        answer: makes the response.
        max_bytes: the largest body.
        slow: whether it takes longer than an event loop can wait.
    """

    protocol: str
    answer: Callable[[bytes, HttpCall], Response] = field(repr=False)
    max_bytes: int = 0
    slow: bool = False


def _deadline(head: Head) -> float | None:
    text = head.header(TIMEOUT_HEADER)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refusal(400, f"{TIMEOUT_HEADER} is not a number of milliseconds")
    return time.monotonic() + int(text) / 1e3
