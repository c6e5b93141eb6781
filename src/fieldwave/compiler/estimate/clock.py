"""A discrete-event clock: what happens next is always what comes first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Clock", "Event", "Process", "Wait"]


class Event:
    """Something that happens once and that processes wait for; ``value`` is what it brings."""

    def __init__(self) -> None:
        self.value: Any = None
        self.happened = False
        self.waiting: list[Process] = []


Wait = float | Event
Process = Generator[Wait, None, None]
"""A unit at work: it yields the cycle until which it rests, or the event that it waits for."""


class Clock:
    """Runs processes and calls in the order of their cycles.

    Attributes:
        now: the cycle; a process that runs sees its own.
    """

    def __init__(self) -> None:
        self.now: float = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, cycle: float, call: Callable[[], None]) -> None:
        """Call ``call`` in ``cycle``, or now where that is past."""
        heapq.heappush(self._queue, (max(cycle, self.now), next(self._numbers), call))

    def start(self, process: Process) -> None:
        """Run ``process`` from now on."""
        while True:
            wait = next(process, None)
            if wait is None:
                return
            if isinstance(wait, Event):
                if not wait.happened:
                    wait.waiting.append(process)
                    return
            elif wait > self.now:
                if self._queue and self._queue[0][0] <= wait:
                    self.at(wait, lambda: self.start(process))
                    return
                self.now = wait

    def happen(self, event: Event, value: Any = None) -> None:
        """``event`` happens now."""
        event.happened, event.value = True, value
        for process in event.waiting:
            self.at(self.now, lambda process=process: self.start(process))  # type: ignore[misc]
        event.waiting = []

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._queue:
            self.now, _, call = heapq.heappop(self._queue)
            call()
