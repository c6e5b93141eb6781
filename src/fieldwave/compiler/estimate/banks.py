"""The two activation banks, as far as a transfer takes them from the compute queue."""

from __future__ import annotations

from collections import deque
from typing import Literal

__all__ = ["Banks"]

Port = Literal["read", "write"]


class Banks:
    """Which words transfers read and write, and when; they come first at every port."""

    def __init__(self) -> None:
        self._runs: dict[tuple[int, Port], deque[tuple[float, float, int]]] = {
            (bank, port): deque() for bank in (0, 1) for port in ("read", "write")
        }

    def take(self, bank: int, port: Port, first: float, last: float, words: int) -> None:
        """A transfer reads or writes ``words`` words, evenly from cycle ``first`` to ``last``."""
        self._runs[bank, port].append((first, last + 1, words))

    def taken(self, bank: int, port: Port, begin: float, end: float) -> tuple[float, float]:
        """Words in the cycles from ``begin`` to ``end`` (excluded), and the cycles of the transfer among them.

        ``begin`` never goes back.
        """
        runs = self._runs[bank, port]
        while runs and runs[0][1] <= begin:
            runs.popleft()
        words = cycles = 0.0
        for first, last, count in runs:
            if first >= end:
                break
            shared = max(0.0, min(last, end) - max(first, begin))
            words += count * shared / (last - first)
            cycles += shared
        return words, cycles
