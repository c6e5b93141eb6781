"""The activation memory plan: which tensors stay on the chip and where, and how the others pass through."""

from __future__ import annotations

from dataclasses import dataclass, field

from fieldwave.compiler.buffers import strip_buffer
from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.placement import Buffer, Place
from fieldwave.compiler.strips import Role, Strip, operands, rows, slab_words

__all__ = ["MemoryPlan", "Slab"]


@dataclass(frozen=True)
class Slab:
    """Rows of a tensor that are on the chip.

    Attributes:
        bank, base: the first word of the first of them.
        first, rows: which they are.
        step: words from row to row.
        pitch: words from pixel to pixel.
        word: which word of a pixel of the tensor is the first here.
    """

    bank: int
    base: int
    first: int
    rows: int
    step: int
    pitch: int
    word: int = 0


@dataclass(frozen=True)
class MemoryPlan:
    """The plan. Time is counted in steps: every operation has one for each of its strips.

    Attributes:
        buffers, places: what is on the chip, and where.
        streamed: tensors that live in memory.
        strips: of each operation; one strip where nothing is streamed.
        starts: the first step of each operation, and the number of all steps.
    """

    buffers: tuple[Buffer, ...]
    places: tuple[Place, ...]
    streamed: frozenset[str]
    strips: tuple[tuple[Strip, ...], ...]
    starts: tuple[int, ...]
    _index: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._index.update((name, i) for i, buffer in enumerate(self.buffers) for name in buffer.tensors)

    def place(self, tensor: str, layout: Layout) -> Place:
        """The first word of a tensor that stays on the chip."""
        found = self.places[self._index[tensor]]
        return Place(found.bank, found.base + layout.offset)

    def loaded(self, name: str) -> int:
        """The step during or before which a tensor that stays, or the rows in a strip's buffer, are loaded."""
        return self.buffers[self._index[name]].first

    def slab(self, index: int, operation: Operation, role: Role, layout: Layout, number: int) -> Slab:
        """The operand of strip ``number`` of operation ``index``: the whole tensor, or the strip's rows of it."""
        tensor = dict(operands(operation))[role]
        if tensor not in self.streamed:
            found = self.place(tensor, layout)
            return Slab(found.bank, found.base, 0, layout.map.height, layout.row_step, layout.pitch)
        found = self.places[self._index[strip_buffer(index, role, number)]]
        first, last = rows(operation, role, layout.map.height, self.strips[index][number])
        strip = self.strips[index][number]
        pitch, word = slab_words(operation, role, layout, strip)
        return Slab(found.bank, found.base, first, last - first, layout.map.width * pitch, pitch, word)
