"""Load on a service: so many requests a second whatever it answers, or so many callers who wait for answers.

An open loop is what independent users do: they come when they come (a Poisson process), not when the service is
done with the one before. Latency counts from the moment at which a request was to be sent, not at which it was: a
service or a generator that stalls keeps those who come meanwhile waiting, and their waiting counts. Without that,
the worst is left out of the figures (G. Tene: coordinated omission).

A closed loop of N callers tells how much a service can do; its latencies are those of N polite callers.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import grpc
import numpy as np
from numpy.typing import NDArray

from fieldwave.bench.protocols import Request
from fieldwave.bench.stages import ASK, said
from fieldwave.client.connection import Connection
from fieldwave.errors import InputError

__all__ = ["Arrivals", "ClosedLoop", "Figures", "OpenLoop", "Sent", "arrivals", "closed_loop", "open_loop"]

Arrivals = Literal["poisson", "constant"]
_PERCENTILES = (50, 90, 99, 99.9)
_MOST_IN_FLIGHT = 4096
_AHEAD_SECONDS = 0.05
_SPIN_SECONDS = 0.0001


@dataclass(frozen=True)
class OpenLoop:
    """Requests that come whether or not those before have been answered.

    Attributes:
        rate: requests a second.
        seconds: how long they come.
        arrivals: ``poisson``, or ``constant`` pauses.
        warm_up: seconds at the beginning that do not count.
        timeout: each one's deadline, in seconds.
        seed: of the pauses.
    """

    rate: float
    seconds: float = 10.0
    arrivals: Arrivals = "poisson"
    warm_up: float = 1.0
    timeout: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1e6:
            raise InputError(f"rate is {self.rate:g}; give more than 0 and less than 1,000,000 requests a second")
        if self.arrivals not in get_args(Arrivals):
            raise InputError(f"arrivals are {self.arrivals!r}; choose poisson or constant")


@dataclass(frozen=True)
class ClosedLoop:
    """Callers who send when they have been answered.

    Attributes:
        callers: how many; each is a thread.
        seconds, warm_up, timeout: as for `OpenLoop`.
    """

    callers: int = 1
    seconds: float = 10.0
    warm_up: float = 1.0
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.callers <= 256:
            raise InputError(f"concurrency is {self.callers}; give 1 to 256")


@dataclass(frozen=True)
class Figures:
    """What came of a load. Times are in milliseconds; of answered requests alone.

    Attributes:
        offered: requests a second that were to come; what was answered, for a closed loop.
        answered: requests a second that were answered.
        requests: how many counted, the warm-up not among them.
        errors: how many were not answered, by gRPC's status.
        p50, p90, p99, p999, mean, worst: of the latency; NaN if nothing was answered.
        late: the 99th percentile of how late the generator itself was: where that is a part of the latency, the
            machine that sends is too slow for the rate.
        stages: mean milliseconds in each stage of the service, where it says so.
    """

    offered: float
    answered: float
    requests: int
    errors: dict[str, int]
    p50: float
    p90: float
    p99: float
    p999: float
    mean: float
    worst: float
    late: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


class Sent(NamedTuple):
    """One request of an open loop; seconds from the beginning of the warm-up.

    Attributes:
        due: when it was to be sent.
        at: when it really was.
        took: how long it took from then on.
    """

    due: float
    at: float
    took: float

    @property
    def waited(self) -> float:
        """What its user waited: from when it was to be sent."""
        return self.at + self.took - self.due


def arrivals(load: OpenLoop) -> NDArray[np.float64]:
    """When requests come, in seconds from the beginning of the warm-up."""
    whole = load.warm_up + load.seconds
    if load.arrivals == "constant":
        return np.arange(0.0, whole, 1.0 / load.rate)
    rng = np.random.default_rng(load.seed)
    count = int(load.rate * whole + 6.0 * (load.rate * whole) ** 0.5) + 10
    times: NDArray[np.float64] = np.cumsum(rng.exponential(1.0 / load.rate, count))
    return times[times < whole]


def open_loop(
    connections: Sequence[Connection],
    request: Request,
    load: OpenLoop,
    *,
    stages: bool = False,
    sent: list[Sent] | None = None,
    refused: list[Sent] | None = None,
) -> Figures:
    """Offer a load to a service; over several connections, or replicas, in turn.

    Returns when the last request has been answered or has met its deadline.

    Args:
        stages: ask the service for the time in each of its stages.
        sent: where to note each answered request, those of the warm-up too.
        refused: the same of those that were answered with an error.
    """
    due = arrivals(load)
    tally = _Tally()
    asked = ASK if stages else ()
    room = threading.Semaphore(_MOST_IN_FLIGHT)
    late = np.zeros(len(due))
    begin = time.perf_counter() + _AHEAD_SECONDS
    for number, after in enumerate(due.tolist()):
        _wait_until(begin + after)
        room.acquire()  # beyond so many, the generator waits: it shows as its lateness, and in the latency
        late[number] = time.perf_counter() - begin - after
        connection = connections[number % len(connections)]
        with connection.borrowed(request.method) as (call, metadata):
            future = call.future(request.data, timeout=load.timeout, metadata=(*metadata, *asked))
        if sent is not None or refused is not None:  # first: all is over when the tally says so
            future.add_done_callback(_note(sent, refused, begin, after, float(late[number])))
        tally.expect(future, begin + after, room, counts=after >= load.warm_up, stages=stages)
    tally.wait()
    counted = int(np.count_nonzero(due >= load.warm_up))
    return tally.figures(counted / load.seconds, load.seconds, float(np.percentile(late, 99)) if len(due) else 0.0)


def closed_loop(
    connections: Sequence[Connection], request: Request, load: ClosedLoop, *, stages: bool = False
) -> Figures:
    """Have callers send one request after the other, at least one that counts; each has one of the connections.

    Args:
        stages: ask the service for the time in each of its stages.
    """
    tally = _Tally()
    asked = ASK if stages else ()
    begin = time.perf_counter() + load.warm_up
    end = begin + load.seconds

    def call_on(connection: Connection) -> None:
        counted = False
        while (now := time.perf_counter()) < end or not counted:
            with connection.borrowed(request.method) as (call, metadata):
                try:
                    _, one = call.with_call(request.data, timeout=load.timeout, metadata=(*metadata, *asked))
                    code = ""
                except grpc.RpcError as error:
                    code = error.code().name
            counted = now >= begin
            if counted:
                tally.add(time.perf_counter() - now, code, one if stages and not code else None)
            if code:
                time.sleep(0.001)  # a service that refuses at once is not to be kept from the others

    threads = [
        threading.Thread(target=call_on, args=[connections[number % len(connections)]], daemon=True)
        for number in range(load.callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = max(time.perf_counter() - begin, 1e-9)
    return tally.figures(None, took, 0.0)


def _note(
    sent: list[Sent] | None, refused: list[Sent] | None, begin: float, due: float, late: float
) -> Callable[[Any], None]:
    def done(call: Any) -> None:
        at = due + late
        took = time.perf_counter() - begin - at
        noted = sent if call.code() is grpc.StatusCode.OK else refused
        if noted is not None:
            noted.append(Sent(due, at, took))

    return done


class _Tally:
    """Latencies and errors, from whichever thread they come."""

    def __init__(self) -> None:
        self._latencies: list[float] = []
        self._errors: Counter[str] = Counter()
        self._stages: list[dict[str, float]] = []
        self._open = 0
        self._changed = threading.Condition()

    def expect(self, future: Any, due: float, room: threading.Semaphore, *, counts: bool, stages: bool) -> None:
        with self._changed:
            self._open += 1

        def done(call: Any) -> None:
            latency = time.perf_counter() - due
            code = call.code()
            room.release()
            if counts:
                well = code is grpc.StatusCode.OK
                self.add(latency, "" if well else code.name, call if stages and well else None)
            with self._changed:
                self._open -= 1
                if not self._open:
                    self._changed.notify_all()

        future.add_done_callback(done)

    def add(self, latency: float, error: str, call: Any = None) -> None:
        if call is not None:
            self._stages.append(said(call))
        if error:
            with self._changed:
                self._errors[error] += 1
        else:
            self._latencies.append(latency)  # which is atomic

    def wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._open)

    def figures(self, offered: float | None, seconds: float, late: float) -> Figures:
        times = np.array(self._latencies) * 1e3
        answered = len(times) / seconds
        p50, p90, p99, p999 = (
            (float(value) for value in np.percentile(times, _PERCENTILES)) if len(times) else [float("nan")] * 4
        )
        return Figures(
            offered=answered if offered is None else offered,
            answered=answered,
            requests=len(times) + sum(self._errors.values()),
            errors=dict(sorted(self._errors.items())),
            p50=p50,
            p90=p90,
            p99=p99,
            p999=p999,
            mean=float(times.mean()) if len(times) else float("nan"),
            worst=float(times.max()) if len(times) else float("nan"),
            late=late * 1e3,
            stages=_means(self._stages),
        )


def _means(each: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in each for name in one)
    return {name: sum(one.get(name, 0.0) for one in each) / len(each) for name in names}


def _wait_until(moment: float) -> None:
    """Sleep, and for the last tenth of a millisecond look at the clock: a thread that sleeps wakes too late."""
    remaining = moment - time.perf_counter()
    if remaining > _SPIN_SECONDS:
        time.sleep(remaining - _SPIN_SECONDS)
    while time.perf_counter() < moment:
        pass
