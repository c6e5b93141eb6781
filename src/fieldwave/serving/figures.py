"""What a service has done lately, second by second: figures for people, beside the counters for Prometheus."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

__all__ = ["PERCENTILE_SECONDS", "SERIES_SECONDS", "Figures", "Recent"]

SERIES_SECONDS = 180
"""How far back it is known what was answered in which second."""
PERCENTILE_SECONDS = 60
"""Over how long the percentiles are."""

_UNIT = 1e-6
_STEPS = 16
"""Latencies are counted in classes, so many to a doubling (as HdrHistogram does): within 2.2 % of the truth."""


@dataclass(frozen=True)
class Recent:
    """What has been seen until now.

    Attributes:
        answered, refused: predictions in each of the last `SERIES_SECONDS`, the second under way last.
        p50, p99: of the predictions of the last `PERCENTILE_SECONDS`, in seconds; None if there were none.
    """

    answered: tuple[int, ...]
    refused: tuple[int, ...]
    p50: float | None
    p99: float | None


@dataclass
class _Second:
    number: int
    answered: int = 0
    refused: int = 0
    classes: Counter[int] = field(default_factory=Counter)


class Figures:
    """Counts by the second; an observation takes 1 us, and all of it less than 1 MB.

    Parameters:
        clock: seconds, as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: deque[_Second] = deque(maxlen=SERIES_SECONDS)

    def took(self, seconds: float) -> None:
        """A prediction has been answered after so many seconds."""
        which = round(math.log2(max(seconds, _UNIT) / _UNIT) * _STEPS)
        with self._lock:
            now = self._now()
            now.answered += 1
            now.classes[which] += 1

    def refused(self) -> None:
        """A prediction has been asked for and not made: no place, no device, or too late."""
        with self._lock:
            self._now().refused += 1

    def recent(self) -> Recent:
        """What has been seen until now."""
        with self._lock:
            now, seconds = int(self._clock()), list(self._seconds)
            if seconds:  # the last alone still changes
                seconds[-1] = replace(seconds[-1], classes=seconds[-1].classes.copy())
        answered, refused = [0] * SERIES_SECONDS, [0] * SERIES_SECONDS
        classes: Counter[int] = Counter()
        for second in seconds:
            age = now - second.number
            if age < SERIES_SECONDS:
                answered[-1 - age], refused[-1 - age] = second.answered, second.refused
            if age < PERCENTILE_SECONDS:
                classes.update(second.classes)
        return Recent(tuple(answered), tuple(refused), _percentile(classes, 0.5), _percentile(classes, 0.99))

    def _now(self) -> _Second:
        number = int(self._clock())
        if not self._seconds or self._seconds[-1].number != number:
            self._seconds.append(_Second(number))
            if len(self._seconds) > PERCENTILE_SECONDS:
                self._seconds[-1 - PERCENTILE_SECONDS].classes = Counter()  # another: somebody may read the one
        return self._seconds[-1]


def _percentile(classes: Counter[int], share: float) -> float | None:
    """The latency that ``share`` of those counted do not exceed (nearest rank)."""
    rank = math.ceil(share * classes.total())
    for which, count in sorted(classes.items()):
        rank -= count
        if rank <= 0:
            return float(_UNIT * 2.0 ** (which / _STEPS))
    return None
