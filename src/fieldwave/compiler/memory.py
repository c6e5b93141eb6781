"""The activation memory plan: a static address for every buffer.

A buffer lives from the operation that first writes it to the one that last reads it, and two buffers that live at
the same time share no word. A residual sum takes the place of its residual where that dies with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Join, Operation
from fieldwave.errors import ModelError
from fieldwave.npu import Configuration

__all__ = ["Buffer", "MemoryPlan", "Place", "plan_memory"]


@dataclass(frozen=True)
class Buffer:
    """Memory that one or several tensors share.

    Attributes:
        tensors: the tensors in it; the first gives it its name.
        words: its size.
        first, last: index of the first operation that needs it and of the last, both included.
    """

    tensors: tuple[str, ...]
    words: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both live at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Place:
    """Where a buffer begins."""

    bank: int
    base: int  # words


@dataclass(frozen=True)
class MemoryPlan:
    """The buffers, where they lie, and so where each tensor does."""

    buffers: tuple[Buffer, ...]
    places: tuple[Place, ...]

    def place(self, tensor: str, layout: Layout) -> Place:
        """The first word of a tensor."""
        for buffer, place in zip(self.buffers, self.places, strict=True):
            if tensor in buffer.tensors:
                return Place(place.bank, place.base + layout.offset)
        raise KeyError(tensor)


def plan_memory(
    steps: Sequence[Operation | Join], layouts: Mapping[str, Layout], configuration: Configuration
) -> MemoryPlan:
    """Find addresses; several orders of placing are tried, and the first that fits is taken.

    Raises:
        ModelError: none fits; the message names the tensor.
    """
    operations = [step for step in steps if isinstance(step, Operation)]
    buffers = _buffers(operations, layouts)
    apart = _apart(operations, buffers)
    blame = None
    for by_size, preference in product((False, True), ((0, 1), (1, 0))):
        order = sorted(
            range(len(buffers)),
            key=lambda i: (-buffers[i].words if by_size else buffers[i].first, buffers[i].first),
        )
        places, failed = _place(buffers, order, apart, preference, configuration)
        if failed is None:
            return MemoryPlan(buffers, tuple(places[index] for index in range(len(buffers))))
        blame = failed if blame is None else blame
    assert blame is not None
    raise ModelError(_complaint(buffers, blame, layouts, configuration))


def _buffers(operations: Sequence[Operation], layouts: Mapping[str, Layout]) -> tuple[Buffer, ...]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    members: dict[str, list[str]] = {}
    owner: dict[str, str] = {}  # buffer -> the buffer that it was put into
    for index, operation in enumerate(operations):
        for name in operation.reads:
            last[layouts[name].buffer] = index
    for name, layout in layouts.items():
        members.setdefault(layout.buffer, []).append(name)
    for index, operation in enumerate(operations):
        for name in (*operation.reads, operation.output):
            buffer = layouts[name].buffer
            first.setdefault(buffer, index)
            last[buffer] = max(last.get(buffer, index), index)

    def root(buffer: str) -> str:
        while buffer in owner:
            buffer = owner[buffer]
        return buffer

    for index, operation in enumerate(operations):
        residual, output = operation.residual, layouts[operation.output]
        if residual is None or residual.stride != (1, 1):
            continue
        source = layouts[residual.tensor]
        alone = all(len(members[layout.buffer]) == 1 for layout in (source, output))
        here, dies = root(source.buffer), last[source.buffer] == index
        if alone and dies and here != root(layouts[operation.input].buffer) and here != root(output.buffer):
            owner[output.buffer] = here
    grouped: dict[str, list[str]] = {}
    for buffer in members:
        if buffer in first:
            grouped.setdefault(root(buffer), []).append(buffer)
    return tuple(
        Buffer(
            tuple(name for part in parts for name in members[part]),
            layouts[parts[0]].map.pixels * layouts[parts[0]].pitch,
            min(first[part] for part in parts),
            max(last[part] for part in parts),
        )
        for parts in grouped.values()
    )


def _apart(operations: Sequence[Operation], buffers: Sequence[Buffer]) -> set[tuple[int, int]]:
    """Pairs of buffers that are better kept in different banks: a convolution's input and its residual."""
    index = {name: i for i, buffer in enumerate(buffers) for name in buffer.tensors}
    pairs = {
        (index[operation.input], index[operation.residual.tensor])
        for operation in operations
        if operation.residual
    }
    return pairs | {(b, a) for a, b in pairs}


def _place(
    buffers: Sequence[Buffer],
    order: Sequence[int],
    apart: set[tuple[int, int]],
    preference: tuple[int, int],
    configuration: Configuration,
) -> tuple[dict[int, Place], int | None]:
    """Put one buffer after the other at the lowest address that is free; on failure say which did not fit."""
    places: dict[int, Place] = {}
    for index in order:
        options = []
        for bank in preference:
            busy = sorted(
                (place.base, place.base + buffers[other].words)
                for other, place in places.items()
                if place.bank == bank and buffers[other].meets(buffers[index])
            )
            base = 0
            for start, end in busy:
                if base + buffers[index].words <= start:
                    break
                base = max(base, end)
            if base + buffers[index].words <= configuration.bank_words[bank]:
                clashes = sum((index, other) in apart for other, place in places.items() if place.bank == bank)
                options.append((clashes, base > 0, preference.index(bank), base, bank))
        if not options:
            return places, index
        *_, base, bank = min(options)
        places[index] = Place(bank, base)
    return places, None


def _complaint(
    buffers: Sequence[Buffer], index: int, layouts: Mapping[str, Layout], configuration: Configuration
) -> str:
    lanes, buffer = configuration.input_lanes, buffers[index]
    others = [other for other in buffers if other is not buffer and other.meets(buffer)]
    others.sort(key=lambda other: -other.words)
    beside = ", ".join(f"{other.tensors[0]!r} ({other.words * lanes} bytes)" for other in others[:3])
    return (
        f"tensor {buffer.tensors[0]!r} ({layouts[buffer.tensors[0]].map}, {buffer.words * lanes} bytes) does not "
        f"fit the activation banks of {configuration.bank_bytes[0]} and {configuration.bank_bytes[1]} bytes"
        + (f" beside {beside}" if beside else "")
        + "; choose a configuration with larger banks"
    )
