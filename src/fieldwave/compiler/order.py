"""The order of operations: of branches, the one first that leaves the least in activation memory.

A ResNet's unit that changes its size has three convolutions on one branch and one on the other, whose result is
the largest tensor: it is best computed last, just before it is added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Join, Operation

__all__ = ["in_order", "peak_words"]


def in_order(
    steps: Sequence[Operation | Join], layouts: Mapping[str, Layout], kept: Collection[str]
) -> tuple[Operation | Join, ...]:
    """The steps in the order in which at most the fewest words live at once; as they are where that is no fewer.

    Args:
        kept: tensors that are wanted at the end.
    """
    left, result = list(steps), list[Operation | Join]()
    alive = _Alive(steps, layouts, kept)
    made = {step.output for step in steps}
    while left:
        ready = [step for step in left if not any(name in made for name in _reads(step))]
        step = min(ready, key=alive.growth)
        alive.after(step)
        made.discard(step.output)
        left.remove(step)
        result.append(step)
    return tuple(result) if alive.peak < peak_words(steps, layouts, kept) else tuple(steps)


def peak_words(steps: Sequence[Operation | Join], layouts: Mapping[str, Layout], kept: Collection[str]) -> int:
    """The most words that live at once where operations run in this order."""
    alive = _Alive(steps, layouts, kept)
    for step in steps:
        alive.after(step)
    return alive.peak


class _Alive:
    """The buffers that are alive, while operations run one by one.

    Attributes:
        words: how large they are together; ``peak`` is the most so far.
    """

    def __init__(
        self, steps: Sequence[Operation | Join], layouts: Mapping[str, Layout], kept: Collection[str]
    ) -> None:
        self.layouts = layouts
        self.readers = Counter(layouts[name].buffer for step in steps for name in _reads(step))
        self.readers.update(layouts[name].buffer for name in kept if name in layouts)
        written = {layouts[step.output].buffer for step in steps}
        self.alive = set(self.readers) - written  # what comes from outside
        self.words = sum(self._size(buffer) for buffer in self.alive)
        self.peak = self.words

    def growth(self, step: Operation | Join) -> int:
        """Words that are alive after a step and were not before."""
        buffer = self.layouts[step.output].buffer
        return (0 if buffer in self.alive else self._size(buffer)) - sum(map(self._size, self._dying(step)))

    def after(self, step: Operation | Join) -> None:
        """Run a step."""
        buffer, dying = self.layouts[step.output].buffer, self._dying(step)
        residual = step.residual if isinstance(step, Operation) else None
        if buffer not in self.alive:
            self.alive.add(buffer)
            self.words += self._size(buffer)
            in_place = residual is not None and residual.stride == (1, 1)
            place = self.layouts[residual.tensor].buffer if residual is not None else ""
            shared = self._size(buffer) if in_place and place in dying else 0
            self.peak = max(self.peak, self.words - shared)
        self.readers.subtract(self.layouts[name].buffer for name in _reads(step))
        for dead in dying:
            self.alive.discard(dead)
            self.words -= self._size(dead)

    def _dying(self, step: Operation | Join) -> set[str]:
        """The buffers that nobody reads after a step."""
        uses = Counter(self.layouts[name].buffer for name in _reads(step))
        own = self.layouts[step.output].buffer
        return {b for b, count in uses.items() if self.readers[b] == count and b != own and b in self.alive}

    def _size(self, buffer: str) -> int:
        layout = self.layouts[buffer]
        return layout.map.pixels * layout.pitch


def _reads(step: Operation | Join) -> tuple[str, ...]:
    return step.reads if isinstance(step, Operation) else step.inputs
