"""The activation memory plan: which tensors stay on the chip and where, and how the others pass through.

A buffer lives from the operation that first writes it to the one that last reads it. A residual sum takes the
place of its residual where that dies with it. While the buffers do not fit, the largest tensor that is in the way
is streamed: it lives in memory, and the operations around it work in strips.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Join, Operation
from fieldwave.compiler.placement import Buffer, Place, place
from fieldwave.compiler.strips import Role, Strip, cut, operands, rows
from fieldwave.errors import ModelError
from fieldwave.npu import Configuration

__all__ = ["MemoryPlan", "Slab", "plan_memory", "strip_buffer"]

LEAST_SHARE = 16
"""Strip buffers shrink to this part of the banks before another tensor is streamed."""


@dataclass(frozen=True)
class Slab:
    """Rows of a tensor that are on the chip.

    Attributes:
        bank, base: the first word of the first of them.
        first, rows: which they are.
        step: words from row to row.
    """

    bank: int
    base: int
    first: int
    rows: int
    step: int


@dataclass(frozen=True)
class MemoryPlan:
    """The plan.

    Attributes:
        buffers, places: what is on the chip, and where.
        streamed: tensors that live in memory.
        strips: of each operation; one strip where nothing is streamed.
    """

    buffers: tuple[Buffer, ...]
    places: tuple[Place, ...]
    streamed: frozenset[str]
    strips: tuple[tuple[Strip, ...], ...]
    _index: dict[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._index.update((name, i) for i, buffer in enumerate(self.buffers) for name in buffer.tensors)

    def place(self, tensor: str, layout: Layout) -> Place:
        """The first word of a tensor that stays on the chip."""
        found = self.places[self._index[tensor]]
        return Place(found.bank, found.base + layout.offset)

    def slab(self, index: int, operation: Operation, role: Role, layout: Layout, number: int) -> Slab:
        """The operand of strip ``number`` of operation ``index``: the whole tensor, or the strip's rows of it."""
        tensor = dict(operands(operation))[role]
        if tensor not in self.streamed:
            found = self.place(tensor, layout)
            return Slab(found.bank, found.base, 0, layout.map.height, layout.row_step)
        found = self.places[self._index[strip_buffer(index, role, number)]]
        first, last = rows(operation, role, layout.map.height, self.strips[index][number])
        return Slab(found.bank, found.base, first, last - first, layout.row_step)


def strip_buffer(index: int, role: Role, number: int) -> str:
    """Name of the buffer through which strip ``number`` of an operand of operation ``index`` passes.

    Even and odd strips have one each: the next strip's rows arrive in one while the other is computed with.
    """
    return f"{role} of operation {index}, {('even', 'odd')[number % 2]} strips"


def plan_memory(
    steps: Sequence[Operation | Join], layouts: Mapping[str, Layout], configuration: Configuration
) -> MemoryPlan:
    """Decide what is streamed, cut strips, find addresses.

    Raises:
        ModelError: not even single rows fit; the message names the tensor.
    """
    operations = [step for step in steps if isinstance(step, Operation)]
    total = sum(configuration.bank_words)
    streamed: set[str] = set()
    room = [total // 2] * len(operations)
    least = total // LEAST_SHARE
    while True:
        found, buffers, strips = _attempt(operations, layouts, streamed, room, configuration)
        if not isinstance(found, int):
            return _with_higher_strips(operations, layouts, streamed, room, configuration)
        failed = buffers[found]
        crowded = [
            index
            for index, operation in enumerate(operations)
            if failed.first <= index <= failed.last
            and any(name in streamed for _, name in operands(operation))
            and strips[index][0].height > 1
        ]
        victims = [
            (buffer.words, name)
            for buffer in buffers
            for name in buffer.tensors
            if buffer.meets(failed) and name in layouts and _alone(name, layouts)
        ]
        shrinking = [index for index in crowded if room[index] > least] or ([] if victims else crowded)
        if shrinking:
            for index in shrinking:
                room[index] //= 2
        elif victims:
            streamed.add(max(victims)[1])
        else:
            passing = {
                strip_buffer(index, role, number): name
                for index, operation in enumerate(operations)
                for role, name in operands(operation)
                for number in range(2)
            }
            raise ModelError(_complaint(buffers, found, passing, configuration))


def _attempt(
    operations: Sequence[Operation],
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    room: Sequence[int],
    configuration: Configuration,
) -> tuple[tuple[Place, ...] | int, tuple[Buffer, ...], list[tuple[Strip, ...]]]:
    """Addresses, or which buffer fails, where the strips of each operation may take ``room`` words."""
    strips = [cut(operation, layouts, streamed, words) for operation, words in zip(operations, room, strict=True)]
    buffers = (*_resident(operations, layouts, streamed), *_passing(operations, layouts, streamed, strips))
    return place(buffers, _apart(operations, buffers), configuration), buffers, strips


def _with_higher_strips(
    operations: Sequence[Operation],
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    room: list[int],
    configuration: Configuration,
) -> MemoryPlan:
    """Give each operation in strips as much room as it can use: fewer strips read the weights less often."""
    total = sum(configuration.bank_words)
    found, buffers, strips = _attempt(operations, layouts, streamed, room, configuration)
    for index, operation in enumerate(operations):
        for eighths in range(8, 0, -1):
            wider = [*room[:index], total * eighths // 8, *room[index + 1 :]]
            if len(cut(operation, layouts, streamed, wider[index])) >= len(strips[index]):
                break
            attempt = _attempt(operations, layouts, streamed, wider, configuration)
            if not isinstance(attempt[0], int):
                room, (found, buffers, strips) = wider, attempt
                break
    assert not isinstance(found, int)
    return MemoryPlan(buffers, found, frozenset(streamed), tuple(strips))


def _alone(name: str, layouts: Mapping[str, Layout]) -> bool:
    """Whether a tensor is neither joined nor part of a joined one."""
    return sum(layout.buffer == layouts[name].buffer for layout in layouts.values()) == 1


def _resident(
    operations: Sequence[Operation], layouts: Mapping[str, Layout], streamed: Collection[str]
) -> tuple[Buffer, ...]:
    """The buffers of tensors that stay on the chip."""
    members: dict[str, list[str]] = {}
    for name, layout in layouts.items():
        members.setdefault(layout.buffer, []).append(name)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, operation in enumerate(operations):
        for _, name in operands(operation):
            if name not in streamed:
                first.setdefault(layouts[name].buffer, index)
                last[layouts[name].buffer] = index
    owner: dict[str, str] = {}  # buffer -> the buffer that it was put into

    def root(buffer: str) -> str:
        while buffer in owner:
            buffer = owner[buffer]
        return buffer

    for index, operation in enumerate(operations):
        residual = operation.residual
        if residual is None or residual.stride != (1, 1) or {residual.tensor, operation.output} & set(streamed):
            continue
        source, output = layouts[residual.tensor].buffer, layouts[operation.output].buffer
        alone = len(members[source]) == len(members[output]) == 1
        here = root(source)
        if alone and last[source] == index and here not in (root(layouts[operation.input].buffer), root(output)):
            owner[output] = here
    grouped: dict[str, list[str]] = {}
    for buffer in first:
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


def _passing(
    operations: Sequence[Operation],
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    strips: Sequence[Sequence[Strip]],
) -> tuple[Buffer, ...]:
    """The buffers through which streamed tensors pass, two where there are several strips."""
    found = []
    for index, operation in enumerate(operations):
        for role, name in operands(operation):
            if name not in streamed:
                continue
            layout, heights = layouts[name], []
            for strip in strips[index]:
                first, last = rows(operation, role, layout.map.height, strip)
                heights.append(last - first)
            for number in range(min(2, len(heights))):
                words = max(heights[number::2]) * layout.row_step
                found.append(Buffer((strip_buffer(index, role, number),), words, index, index))
    return tuple(found)


def _apart(operations: Sequence[Operation], buffers: Sequence[Buffer]) -> set[tuple[int, int]]:
    """Pairs of buffers that are better kept in different banks: a convolution's input and its residual or pool."""
    found = {name: index for index, buffer in enumerate(buffers) for name in buffer.tensors}

    def of_strip(index: int, role: Role, name: str, number: int) -> int:
        """The buffer of an operand in even or odd strips; where there is one strip, it is even."""
        names = (name, strip_buffer(index, role, number), strip_buffer(index, role, 0))
        return next(found[name] for name in names if name in found)

    pairs = {
        (
            of_strip(index, "input", operation.input, number),
            of_strip(index, "residual", operation.residual.tensor, number),
        )
        for index, operation in enumerate(operations)
        if operation.residual is not None
        for number in range(2)
    }
    pairs |= {
        (
            of_strip(index, "input", operation.input, number),
            of_strip(index, "output", operation.output, number),
        )
        for index, operation in enumerate(operations)
        if operation.pool is not None
        for number in range(2)
    }
    return pairs | {(b, a) for a, b in pairs}


def _complaint(
    buffers: Sequence[Buffer], index: int, passing: Mapping[str, str], configuration: Configuration
) -> str:
    buffer, (first, second) = buffers[index], configuration.bank_bytes
    sizes: dict[str, int] = {}
    beside = (other for other in buffers if other is not buffer and other.meets(buffer))
    for other in (buffer, *sorted(beside, key=lambda other: -other.words)):
        name = other.tensors[0]
        name = f"rows of {passing[name]!r}" if name in passing else repr(name)
        sizes[name] = sizes.get(name, 0) + other.words * configuration.input_lanes
    (worst, *others) = (f"{name} ({size} bytes)" for name, size in sizes.items())
    company = f" beside {', '.join(others[:3])}" if others else ""
    return (
        f"the activation banks of {first} and {second} bytes have no room for {worst}{company}; "
        "choose a configuration with larger banks"
    )
