"""Loops of the address generators: what a count is compared with is known before the loop steps.

``x == count - 1`` where a loop steps is a subtraction and a comparison in front of everything that steps with it,
and in nested loops several of them: that would bound the clock of the whole NPU. Here a flip-flop says that a
round is the last one, and it is set with the round before.
"""

from __future__ import annotations

from typing import Any

from amaranth import Signal

__all__ = ["Loop"]


class Loop:
    """Counts the rounds of a loop down; means nothing before it has begun.

    Attributes:
        left: rounds, this one included.
        last: this one is the last.
    """

    def __init__(self, name: str, bits: int = 16) -> None:
        self.left = Signal(bits, name=f"{name}_left", reset_less=True)
        self.last = Signal(name=f"last_of_{name}", reset_less=True)

    def begin(self, count: Any, one: Any) -> list[Any]:
        """Statements that begin anew, with ``count`` rounds; ``one`` says that it is 1."""
        return [self.left.eq(count), self.last.eq(one)]

    def next(self) -> list[Any]:
        """Statements that go on to the next round."""
        return [self.left.eq(self.left - 1), self.last.eq(self.left == 2)]
