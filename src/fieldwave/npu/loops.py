"""Counts whose ends are known before they are needed: loops of the address generators, places in a queue.

``x == count - 1`` where a loop steps is a subtraction and a comparison in front of everything that steps with it,
and in nested loops several of them: that would bound the clock of the whole NPU. Here a flip-flop says that a
round is the last one, and it is set with the round before. For the same reason one says whether there is room.
"""

from __future__ import annotations

from typing import Any

from amaranth import Signal

__all__ = ["Loop", "Room"]


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


class Room:
    """Free places of a queue; each is taken before what will lie there has been asked for.

    Attributes:
        left: how many.
        some: there is one.
    """

    def __init__(self, places: int, name: str) -> None:
        self.left = Signal(range(places + 1), init=places, name=name)
        self.some = Signal(init=1, name=f"some_{name}")

    def change(self, *, taken: Any, given: Any) -> list[Any]:
        """Statements of every cycle: a place is taken, one is given back, neither or both."""
        return [
            self.left.eq(self.left - taken + given),
            self.some.eq((self.left > 1) | given | ((self.left == 1) & ~taken)),
        ]
