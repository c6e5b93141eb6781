"""The memory port: bursts that readers ask for in turns, beats at the memory's bandwidth after its latency."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from fieldwave.compiler.estimate.clock import Clock, Event
from fieldwave.compiler.estimate.delays import OUTSTANDING
from fieldwave.errors import InputError
from fieldwave.npu import Configuration

__all__ = ["Memory", "Port", "bursts"]

READERS = 5
"""Header, compute queue, transfer queue, LOAD, weights: in this order they take turns."""
HELD_BEATS = 2
"""Beats that a memory may deliver at once after a rest."""


@dataclass(frozen=True)
class Memory:
    """What the NPU sees of its memory.

    Parameters:
        bandwidth: bytes per cycle, reads and writes together; None is a beat per cycle.
        latency: cycles from a read burst to its first beat, and from a written burst to its acknowledgement.

    Raises:
        InputError: a bandwidth or a latency that is not positive.
    """

    bandwidth: float | None = None
    latency: int = 100

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise InputError(f"the memory's bandwidth must be positive, not {self.bandwidth}")
        if self.latency < 1:
            raise InputError(f"the memory's latency must be at least one cycle, not {self.latency}")


def bursts(offset: int, beats: int, configuration: Configuration) -> Iterator[int]:
    """The sizes of the bursts of ``beats`` beats from byte ``offset`` on: one ends where the longest ones meet."""
    longest = configuration.burst_beats
    place = offset // configuration.port_bytes % longest
    while beats:
        size = min(beats, longest - place)
        yield size
        beats, place = beats - size, 0


class Port:
    """Answers bursts in the order in which it granted them.

    Attributes:
        beats_read, beats_written: so far.
    """

    def __init__(self, clock: Clock, configuration: Configuration, memory: Memory) -> None:
        self._clock = clock
        bandwidth = memory.bandwidth or configuration.port_bytes
        self.spacing = max(1.0, configuration.port_bytes / bandwidth)
        self._price = configuration.port_bytes / bandwidth  # below one where the memory is faster than the port
        self._latency = memory.latency
        self._asking: dict[int, tuple[int, Event]] = {}
        self._turn = 0
        self._arbiter_waits = False
        self._next_grant = 0.0
        self._flight: deque[float] = deque()
        self._reads: deque[tuple[float, float]] = deque()  # first and last beat of bursts that writes may meet
        self._read_end = -1.0  # cycle of the last beat that was granted
        self._paid = 0.0  # cycle until which the bandwidth is spent
        self._written = -1.0  # cycle of the last beat that was written
        self._unanswered: deque[float] = deque()
        self.beats_read = self.beats_written = 0

    def ask(self, reader: int, beats: int) -> Event:
        """A burst; the event brings the cycles in which its first and its last beat reach the reader."""
        granted = Event()
        self._asking[reader] = (beats, granted)
        if not self._arbiter_waits:
            self._arbitrate_at(self._clock.now)
        return granted

    def _arbitrate_at(self, cycle: float) -> None:
        self._arbiter_waits = True
        self._clock.at(max(cycle, self._next_grant), self._grant)

    def _grant(self) -> None:
        now = self._clock.now
        self._arbiter_waits = False
        while self._flight and self._flight[0] < now:
            self._flight.popleft()
        if len(self._flight) >= OUTSTANDING:
            self._arbitrate_at(self._flight[0] + 1)
            return
        reader = min(self._asking, key=lambda number: (number - self._turn - 1) % READERS)
        beats, granted = self._asking.pop(reader)
        self._turn = reader
        self._next_grant = now + 2
        first = max(now + 1 + self._latency, self._read_end + 1, self._paid - (HELD_BEATS - 1) * self._price)
        self._paid = max(self._paid, first) + beats * self._price
        last = max(first + beats - 1, self._paid - HELD_BEATS * self._price)
        self._read_end = last
        self._flight.append(last)
        self._reads.append((first, last + 1))
        self.beats_read += beats
        self._clock.happen(granted, (first + 1, last + 1))
        if self._asking:
            self._arbitrate_at(now + 2)

    def write(self, begin: float, beats: int, pace: float) -> tuple[float, float]:
        """A burst of the writer, whose beats are ready every ``pace`` cycles.

        Returns:
            The cycles of its last beat and of its acknowledgement.
        """
        while len(self._unanswered) >= OUTSTANDING:
            begin = max(begin, self._unanswered.popleft() + 1)
        start = max(begin + 2, self._written + self._price)
        while self._reads and self._reads[0][1] <= start:
            self._reads.popleft()
        each = max(pace, 1.0, self._price)
        last = start + (beats - 1) * each
        if self._price > 0.5:  # not enough for readers and the writer: they take turns
            shared = sum(max(0.0, min(end, last) - max(first, start)) for first, end in self._reads)
            last += min(shared * self._price / each, beats * self._price)
        self._paid = max(self._paid, start) + beats * self._price
        self.beats_written += beats
        self._written = last
        answered = last + self._latency + 1
        self._unanswered.append(answered)
        return last, answered
