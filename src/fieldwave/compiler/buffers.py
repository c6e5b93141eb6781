"""What needs room on the chip, and how long: in steps, of which each operation has one for every strip.

A tensor that stays lives from the step that first writes it to the last that reads it; what comes from the host is
loaded a step ahead, what goes to the host leaves during the step after. A residual sum takes the place of its
residual where that dies with it. The rows of a streamed tensor live while their strip is computed; they are loaded
a step ahead if they are in memory by then, and stored during the step after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.placement import Buffer
from fieldwave.compiler.strips import Role, Strip, operands, rows, slab_words

__all__ = ["Cutting", "apart", "buffers", "strip_buffer"]


@dataclass(frozen=True)
class Cutting:
    """Operations in strips, and which tensors pass through.

    Attributes:
        operations, layouts: what there is.
        inputs, outputs: tensors that come from the host and go to it.
        streamed: tensors that live in memory.
        strips: of each operation.
        waiting: operations that load and store nothing beside their computing, for lack of room.
    """

    operations: Sequence[Operation]
    layouts: Mapping[str, Layout]
    inputs: Collection[str]
    outputs: Collection[str]
    streamed: frozenset[str]
    strips: tuple[tuple[Strip, ...], ...]
    waiting: frozenset[int] = frozenset()

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """The first step of each operation, and the number of all steps."""
        found = [0]
        for strips in self.strips:
            found.append(found[-1] + len(strips))
        return tuple(found)

    @property
    def last_step(self) -> int:
        return self.starts[-1] - 1

    @cached_property
    def makers(self) -> Mapping[str, tuple[int, ...]]:
        """The operations that write each tensor, or a part of it."""
        found: dict[str, list[int]] = {}
        for name, layout in self.layouts.items():
            for index, operation in enumerate(self.operations):
                part = self.layouts[operation.output]
                if part.buffer == layout.buffer and layout.offset <= part.offset < layout.offset + layout.words:
                    found.setdefault(name, []).append(index)
        return {name: tuple(indices) for name, indices in found.items()}

    def in_memory_after(self, name: str, first: int, last: int) -> int:
        """The step after whose computing the rows of a streamed tensor are stored; -2 for what the host made."""
        found = -2
        for index in self.makers.get(name, ()):
            for number, strip in enumerate(self.strips[index]):
                if strip.first < last and first < strip.last:
                    found = max(found, self.starts[index] + number)
        return found

    def touched(self, index: int, role: Role, number: int) -> tuple[int, int]:
        """The rows of an operand that a strip needs, the last excluded."""
        operation = self.operations[index]
        height = self.layouts[dict(operands(operation))[role]].map.height
        return rows(operation, role, height, self.strips[index][number])

    def words(self, index: int, role: Role, number: int) -> int:
        """The size of a strip's buffer."""
        operation = self.operations[index]
        layout = self.layouts[dict(operands(operation))[role]]
        first, last = self.touched(index, role, number)
        return (
            (last - first) * layout.map.width * slab_words(operation, role, layout, self.strips[index][number])[0]
        )


def strip_buffer(index: int, role: Role, number: int) -> str:
    """Name of the buffer of strip ``number`` of an operand of operation ``index``."""
    return f"{role} of operation {index}, strip {number}"


def buffers(cutting: Cutting) -> tuple[Buffer, ...]:
    """Everything that needs room."""
    return (*_resident(cutting), *_passing(cutting))


def apart(cutting: Cutting, found: Sequence[Buffer]) -> dict[tuple[int, int], int]:
    """Pairs of buffers that are better kept in different banks, and the cycles that it costs where they are not.

    The array reads its input in every cycle; a residual or a fused pool is read a word for every word of the
    output, and so is what is stored meanwhile.
    """
    numbers = {name: index for index, buffer in enumerate(found) for name in buffer.tensors}
    weights: dict[tuple[int, int], int] = {}

    def of(index: int, role: Role, name: str, number: int) -> int:
        return numbers[strip_buffer(index, role, number) if name in cutting.streamed else name]

    def add(a: int, b: int, cycles: int) -> None:
        if a != b:
            for pair in ((a, b), (b, a)):
                weights[pair] = weights.get(pair, 0) + cycles

    before: int | None = None  # what the step before has made and is stored during this one
    for index, operation in enumerate(cutting.operations):
        output = cutting.layouts[operation.output]
        for number, strip in enumerate(cutting.strips[index]):
            source = of(index, "input", operation.input, number)
            words = strip.height * output.map.width * output.words
            if operation.residual is not None:
                add(source, of(index, "residual", operation.residual.tensor, number), words)
            if operation.pool is not None or output.merged:
                add(source, of(index, "output", operation.output, number), words)
            if before is not None:
                add(source, before, found[before].words)
            leaving = operation.output in cutting.streamed
            before = numbers[strip_buffer(index, "output", number)] if leaving else None
    return weights


def _resident(cutting: Cutting) -> Iterator[Buffer]:
    """The buffers of tensors that stay on the chip."""
    layouts, starts, streamed = cutting.layouts, cutting.starts, cutting.streamed
    members: dict[str, list[str]] = {}
    for name, layout in layouts.items():
        members.setdefault(layout.buffer, []).append(name)
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, operation in enumerate(cutting.operations):
        for role, name in operands(operation):
            if name in streamed:
                continue
            buffer = layouts[name].buffer
            ahead = role != "output" and name in cutting.inputs and index not in cutting.waiting
            first.setdefault(buffer, max(0, starts[index] - ahead))
            last[buffer] = starts[index + 1] - 1
    owner: dict[str, str] = {}  # buffer -> the buffer that it was put into

    def root(buffer: str) -> str:
        while buffer in owner:
            buffer = owner[buffer]
        return buffer

    for index, operation in enumerate(cutting.operations):
        residual = operation.residual
        if residual is None or residual.stride != (1, 1) or {residual.tensor, operation.output} & streamed:
            continue
        source, output = layouts[residual.tensor].buffer, layouts[operation.output].buffer
        alone = len(members[source]) == len(members[output]) == 1
        here = root(source)
        ends = last[source] == starts[index + 1] - 1
        if alone and ends and here not in (root(layouts[operation.input].buffer), root(output)):
            owner[output] = here
    for buffer in last:
        if set(members[buffer]) & set(cutting.outputs):
            last[buffer] = min(cutting.last_step, last[buffer] + 1)
    grouped: dict[str, list[str]] = {}
    for buffer in first:
        grouped.setdefault(root(buffer), []).append(buffer)
    for parts in grouped.values():
        yield Buffer(
            tuple(name for part in parts for name in members[part]),
            layouts[parts[0]].map.pixels * layouts[parts[0]].pitch,
            min(first[part] for part in parts),
            max(last[part] for part in parts),
        )


def _passing(cutting: Cutting) -> Iterator[Buffer]:
    """The buffers through which streamed tensors pass."""
    for index, operation in enumerate(cutting.operations):
        for role, name in operands(operation):
            if name not in cutting.streamed:
                continue
            for number in range(len(cutting.strips[index])):
                begin, end = cutting.touched(index, role, number)
                step = cutting.starts[index] + number
                first = last = step
                if index not in cutting.waiting:
                    if role == "output":
                        last = min(cutting.last_step, step + 1)
                    elif step and cutting.in_memory_after(name, begin, end) <= step - 2:
                        first = step - 1
                words = cutting.words(index, role, number)
                family = f"{role} of operation {index}"
                yield Buffer((strip_buffer(index, role, number),), words, first, last, family)
