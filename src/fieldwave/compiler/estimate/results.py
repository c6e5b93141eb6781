"""Behind the accumulators: a queue of results, and the unit that takes them from it at its own pace."""

from __future__ import annotations

from collections import deque

from fieldwave.compiler.estimate.delays import Delays
from fieldwave.npu import Configuration

__all__ = ["Results"]


class Results:
    """Of one compute descriptor, in order; results are counted from its first.

    Parameters:
        pace: cycles in which the unit takes one result.
        parameters: a tile's parameters have to change between its last result and the next tile's first.

    Attributes:
        pace: as above.
        left: cycle in which the newest result left the queue.
    """

    def __init__(self, configuration: Configuration, delays: Delays, pace: int, *, parameters: bool) -> None:
        self._depth, self._way, self.pace = configuration.block_pixels, delays.result, pace
        self._change = 2 if parameters else 1
        self._pending: deque[tuple[int, float, float]] = deque()  # results up to here; first and last leave
        self._count = 0
        self._starts_tile = False
        self.left = 0.0

    def issue(self, cycle: float, count: int, parameters_from: float) -> float:
        """``count`` complete results are issued, from ``cycle`` on at best one a cycle.

        Returns:
            The cycle of the last of them, later where there is no room.
        """
        last = cycle + count - 1
        before = self._count
        while self._pending and self._pending[0][0] <= before - self._depth:
            self._pending.popleft()
        for end, first_leaves, last_leaves in self._pending:
            over = before + count - self._depth  # results that must have left before the last one is issued
            if over <= 0:
                break
            newest = min(end, over)
            leaves = last_leaves - (end - newest) * self.pace
            place = newest - 1 + self._depth - before  # the one that takes its room
            if 0 <= place < count:
                last = max(last, max(leaves, first_leaves) + 1 + (count - 1 - place))
        earliest = self.left + self.pace + (self._change if self._starts_tile else 0) if before else 0.0
        first_leaves = max(earliest, cycle + self._way, parameters_from)
        last_leaves = max(first_leaves + (count - 1) * self.pace, last + self._way)
        self._count += count
        self._pending.append((self._count, first_leaves, last_leaves))
        self.left = last_leaves
        self._starts_tile = False
        return last

    def delay(self, cycles: float) -> None:
        """Something else took the write port for so long while results were leaving."""
        if self._pending:
            end, first_leaves, last_leaves = self._pending.pop()
            self._pending.append((end, first_leaves, last_leaves + cycles))
            self.left = last_leaves + cycles

    def end_tile(self) -> None:
        """The next result belongs to another tile."""
        self._starts_tile = True
