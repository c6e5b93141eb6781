"""Latency in a closed loop of one caller: one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Latency", "measure"]


@dataclass(frozen=True)
class Latency:
    """Latencies of one closed loop, in milliseconds.

    Attributes:
        count: calls measured, the warm-up not counted.
        p50, p90, p99, best: percentiles and minimum.
        rate: calls finished per second.
    """

    count: int
    p50: float
    p90: float
    p99: float
    best: float
    rate: float


def measure(call: Callable[[], object], *, seconds: float = 3.0, warm_up: int = 3) -> Latency:
    """Call again and again for ``seconds``, at least once, after a warm-up of at most as long."""
    begin = time.perf_counter()
    for _ in range(warm_up):
        call()
        if time.perf_counter() - begin > seconds:
            break
    times: list[float] = []
    begin = now = time.perf_counter()
    while not times or now - begin < seconds:
        call()
        before, now = now, time.perf_counter()
        times.append(now - before)
    p50, p90, p99 = (float(value) * 1e3 for value in np.percentile(times, (50, 90, 99)))
    return Latency(len(times), p50, p90, p99, min(times) * 1e3, len(times) / (now - begin))
