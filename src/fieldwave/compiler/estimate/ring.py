"""The weight stream: what has been read into the ring, what has left it, and what may be overwritten."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from fieldwave.compiler.estimate.clock import Clock, Event, Process
from fieldwave.compiler.estimate.delays import YIELDING_BURSTS, Delays
from fieldwave.compiler.estimate.port import Port, bursts
from fieldwave.npu import Configuration

__all__ = ["Ring"]

WEIGHTS = 4
"""Number of this reader at the port."""


class Ring:
    """Keeps the ring full, whatever descriptor is running. Beats are counted from the start of the stream.

    Attributes:
        level: (cycle, beats in the ring) whenever a burst was asked for.
        yielding: a LOAD asks for its bursts; those of weights are few meanwhile.
    """

    def __init__(self, clock: Clock, port: Port, configuration: Configuration, delays: Delays) -> None:
        self._clock, self._port, self._configuration, self._delays = clock, port, configuration, delays
        self._asked = 0
        self._ends: list[int] = []  # of every burst: the beat after it, and when its beats arrive
        self._firsts: list[float] = []
        self._lasts: list[float] = []
        self._more = Event()
        self._frees: deque[tuple[int, int, float, float]] = deque()  # beats from, to; cycles from, to
        self._freed_up_to = 0
        self._freed = Event()
        self.level: list[tuple[float, int]] = []
        self.yielding = False

    def read(self, offset: int, beats: int) -> Process:
        """The reader, from its start to the end of the stream."""
        depth, longest = self._configuration.ring_beats, self._configuration.burst_beats
        for size in bursts(offset, beats, self._configuration):
            needed = self._asked - depth + longest
            while needed > self._freed_up_to:
                if not self._frees:
                    self._freed = Event()
                    yield self._freed
                    continue
                start, end, begin, last = self._frees[0]
                if needed <= end:
                    yield begin + (last - begin) * (needed - start) / (end - start) + 1 + self._delays.late
                    break
                self._freed_up_to = self._frees.popleft()[1]
            while self.yielding and len(self._lasts) >= YIELDING_BURSTS:
                if self._firsts[-YIELDING_BURSTS] < self._clock.now:
                    break
                yield self._firsts[-YIELDING_BURSTS] + 1
            granted = self._port.ask(WEIGHTS, size)
            yield granted
            first, last = granted.value
            self._asked += size
            self._ends.append(self._asked)
            self._firsts.append(first + 1)
            self._lasts.append(last + 1)
            self.level.append((self._clock.now, min(depth, self._asked - self._freed_by_now())))
            if self._more.waiting:
                more, self._more = self._more, Event()
                self._clock.happen(more)
            yield self._clock.now + 1

    def hold(self, beats: int) -> None:
        """The whole stream is there from now on, as the run before left it."""
        self._asked = beats
        self._ends.append(beats)
        self._firsts.append(self._clock.now)
        self._lasts.append(self._clock.now)
        self.level.append((self._clock.now, beats))

    def _freed_by_now(self) -> int:
        now = self._clock.now - 1 - self._delays.late
        while self._frees and self._frees[0][3] <= now:
            self._freed_up_to = self._frees.popleft()[1]
        if not self._frees or self._frees[0][2] >= now:
            return self._freed_up_to
        start, end, begin, last = self._frees[0]
        return start + int((end - start) * (now - begin) / (last - begin))

    def arrival(self, beat: int) -> float | Event:
        """The cycle from which ``beat`` can leave the ring; or an event after which to ask again."""
        burst = bisect_right(self._ends, beat)
        if burst == len(self._ends):
            return self._more
        size = self._ends[burst] - (self._ends[burst - 1] if burst else 0)
        first, last = self._firsts[burst], self._lasts[burst]
        return last if size == 1 else last - (self._ends[burst] - 1 - beat) * (last - first) / (size - 1)

    def has_by(self, beat: int, cycle: float) -> bool:
        """Whether ``beat`` is surely there in ``cycle``."""
        burst = bisect_right(self._ends, beat)
        return burst < len(self._ends) and self._lasts[burst] <= cycle

    def free(self, start: int, end: int, begin: float, last: float) -> None:
        """Beats ``start`` to ``end`` (excluded) leave the ring for good, evenly from ``begin`` to ``last``."""
        if end > start:
            self._frees.append((start, end, begin, last))
            if self._freed.waiting:
                freed, self._freed = self._freed, Event()
                self._clock.happen(freed)
