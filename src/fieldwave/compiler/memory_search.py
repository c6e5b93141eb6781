"""The search for an activation memory plan.

While the buffers do not fit, operations with streamed operands are cut into more strips, and then the largest
tensor that is in the way is streamed, with all that it is joined with. What then turns out to fit after all comes
back. Inputs that take long to load are streamed from the start: so their first strip is computed early.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from fieldwave.compiler.buffers import Cutting, apart, buffers
from fieldwave.compiler.layout import Layout
from fieldwave.compiler.memory import MemoryPlan
from fieldwave.compiler.operations import Join, Operation
from fieldwave.compiler.placement import Buffer, Place, place
from fieldwave.compiler.strip_cost import best_count, counts, most_strips
from fieldwave.compiler.strips import cut, operands
from fieldwave.errors import ModelError
from fieldwave.npu import Configuration

__all__ = ["plan_memory"]

LEAST_SHARE = 16
"""Strip buffers shrink to this part of the banks before another tensor is streamed."""
LONG_LOAD = 2000
"""Cycles, at a full memory port, from which on an input is streamed."""


def plan_memory(
    steps: Sequence[Operation | Join],
    layouts: Mapping[str, Layout],
    configuration: Configuration,
    inputs: Collection[str],
    outputs: Collection[str],
) -> MemoryPlan:
    """Decide what is streamed, cut strips, find addresses.

    Args:
        inputs, outputs: tensors that come from the host and go to it.

    Raises:
        ModelError: not even single rows fit; the message names the tensor.
    """
    operations = [step for step in steps if isinstance(step, Operation)]
    search = _Search(operations, layouts, configuration, frozenset(inputs), frozenset(outputs))
    return search.plan()


class _Search:
    """What is streamed so far, and how many strips each operation has.

    Attributes:
        streamed: tensors that live in memory.
        counts: strips of each operation.
        waiting: operations that load and store nothing beside their computing.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        layouts: Mapping[str, Layout],
        configuration: Configuration,
        inputs: frozenset[str],
        outputs: frozenset[str],
    ) -> None:
        self.operations, self.layouts, self.configuration = operations, layouts, configuration
        self.inputs, self.outputs = inputs, outputs
        self.total = sum(configuration.bank_words)
        self.streamed = {name for name in sorted(inputs) if self._takes_long(name)}
        self.wanted = [self._best(index) for index in range(len(operations))]
        self.counts = list(self.wanted)
        self.waiting: set[int] = set()

    def plan(self) -> MemoryPlan:
        """Search until everything fits, then take back what was given up too early."""
        self._stream_excess()
        while True:
            cutting, found, places = self._attempt()
            if not isinstance(places, int):
                break
            self._give_way(cutting, found, places)
        best = cutting, found, places
        given_up = [name for name in self.streamed if not (name in self.inputs and self._takes_long(name))]
        for name in sorted(given_up, key=lambda name: (-self._words(name), name)):
            best = self._try(best, streamed=self.streamed - self._group(name)) or best
        for index in sorted(self.waiting):
            best = self._try(best, waiting=self.waiting - {index}) or best
        for index, wanted in enumerate(self.wanted):
            for count in (wanted, (wanted + self.counts[index]) // 2):
                changed = [*self.counts[:index], count, *self.counts[index + 1 :]]
                better = self._try(best, counts=changed) if count < self.counts[index] else None
                if better is not None:
                    best = better
                    break
        cutting, found, places = best
        final = place(found, apart(cutting, found), self.configuration)
        if not isinstance(final, int):
            places = final
        return MemoryPlan(found, places, cutting.streamed, cutting.strips, cutting.starts)

    def _attempt(self) -> tuple[Cutting, tuple[Buffer, ...], tuple[Place, ...] | int]:
        """Addresses, or which buffer fails."""
        cutting = self._cutting()
        found = buffers(cutting)
        return cutting, found, place(found, {}, self.configuration, first=True)

    def _cutting(self) -> Cutting:
        strips = tuple(
            cut(
                operation,
                self.layouts,
                self.streamed,
                count,
                short_first=index == 0 and operation.input in self.streamed,
            )
            for index, (operation, count) in enumerate(zip(self.operations, self.counts, strict=True))
        )
        return Cutting(
            self.operations, self.layouts, self.inputs, self.outputs, frozenset(self.streamed), strips,
            frozenset(self.waiting),
        )  # fmt: skip

    def _try(
        self,
        best: tuple[Cutting, tuple[Buffer, ...], tuple[Place, ...]],
        *,
        streamed: set[str] | None = None,
        waiting: set[int] | None = None,
        counts: list[int] | None = None,
    ) -> tuple[Cutting, tuple[Buffer, ...], tuple[Place, ...]] | None:
        """The plan with something changed, if it fits; else everything stays as it was."""
        before = self.streamed, self.waiting, self.counts
        self.streamed = self.streamed if streamed is None else streamed
        self.waiting = self.waiting if waiting is None else waiting
        self.counts = self.counts if counts is None else counts
        if streamed is not None:
            moving = [any(name in streamed for _, name in operands(o)) for o in self.operations]
            self.counts = [count if moves else 1 for count, moves in zip(self.counts, moving, strict=True)]
        cutting, found, places = self._attempt()
        if isinstance(places, int):
            self.streamed, self.waiting, self.counts = before
            return None
        return cutting, found, places

    def _stream_excess(self) -> None:
        """Stream what cannot stay, whatever the addresses: while more lives than the banks hold."""
        while True:
            found = [buffer for buffer in buffers(self._cutting()) if buffer.tensors[0] in self.layouts]
            crowd = next((crowd for crowd in _crowds(found) if sum(b.words for b in crowd) > self.total), ())
            victims = self._victims(crowd)
            if not victims:
                return
            self._stream(max(victims)[-1])

    def _give_way(self, cutting: Cutting, found: Sequence[Buffer], failed: int) -> None:
        """Make room for a buffer: more strips around it, or one tensor less, or no transfers beside computing.

        Raises:
            ModelError: there is nothing left to give.
        """
        here = found[failed]
        starts = cutting.starts
        around = [
            index
            for index, operation in enumerate(self.operations)
            if starts[index] <= here.last + 1
            and here.first <= starts[index + 1]
            and any(name in self.streamed for _, name in operands(operation))
        ]
        divisible = [i for i in around if self.counts[i] < self._most(i)]
        victims = self._victims(buffer for buffer in found if buffer.meets(here))
        least = self.total // LEAST_SHARE
        shrinking = [i for i in divisible if self._strip_words(cutting, i) > least] or (
            [] if victims else divisible
        )
        if shrinking:
            for index in shrinking:
                most = self._most(index)
                self.counts[index] = next((n for n in counts(most) if n >= 2 * self.counts[index]), most)
        elif victims:
            self._stream(max(victims)[-1])
        elif not set(around) <= self.waiting:
            self.waiting.update(around)
        else:
            raise ModelError(_complaint(found, failed, self.operations, self.configuration))

    def _stream(self, name: str) -> None:
        """Let a tensor live in memory, with all that it is joined with."""
        group = self._group(name)
        self.streamed |= group
        for index, operation in enumerate(self.operations):
            if any(tensor in group for _, tensor in operands(operation)):
                self.wanted[index] = self._best(index)
                self.counts[index] = max(self.counts[index], self.wanted[index])

    def _most(self, index: int) -> int:
        return most_strips(self.operations[index], self.layouts, self.configuration)

    def _best(self, index: int) -> int:
        return best_count(self.operations[index], self.layouts, self.streamed, self.configuration)

    def _takes_long(self, name: str) -> bool:
        """Whether an input is worth streaming: one operation convolves it, and it is long to load."""
        readers = [operation for operation in self.operations if name in operation.reads]
        alone = len(readers) == 1 and readers[0].input == name and len(self._group(name)) == 1
        size = self._words(name) * self.configuration.input_lanes
        return alone and size > LONG_LOAD * self.configuration.port_bytes

    def _words(self, name: str) -> int:
        return self.layouts[name].map.pixels * self.layouts[name].own_pitch

    def _group(self, name: str) -> set[str]:
        """A tensor and all that shares its pixels."""
        buffer = self.layouts[name].buffer
        return {other for other, layout in self.layouts.items() if layout.buffer == buffer}

    def _victims(self, crowd: Iterable[Buffer]) -> list[tuple[int, int, str]]:
        """What could be streamed: words that it frees, less often used first, names."""
        uses = Counter(name for operation in self.operations for _, name in operands(operation))
        return [
            (buffer.words, -uses[name], name)
            for buffer in crowd
            for name in buffer.tensors
            if name in self.layouts and uses[name] and self._can_stream(name)
        ]

    def _can_stream(self, name: str) -> bool:
        """A part of a joined tensor must begin at a beat in memory, and be stored without its neighbours."""
        if any(operation.output == name and operation.sums_words for operation in self.operations):
            return False
        group = self._group(name)
        whole = all(self.layouts[part].lanes[0] % self.configuration.input_lanes == 0 for part in group)
        return len(group) == 1 or (whole and self.configuration.input_lanes % self.configuration.port_bytes == 0)

    def _strip_words(self, cutting: Cutting, index: int) -> int:
        """The most words that the strips of an operation hold of its streamed operands at once."""
        total = 0
        for role, name in operands(self.operations[index]):
            if name in self.streamed:
                total += 2 * max(cutting.words(index, role, n) for n in range(len(cutting.strips[index])))
        return total


def _crowds(found: Sequence[Buffer]) -> Iterator[tuple[Buffer, ...]]:
    """What lives together, whenever something begins to live."""
    for first in sorted({buffer.first for buffer in found}):
        yield tuple(buffer for buffer in found if buffer.first <= first <= buffer.last)


def _complaint(
    found: Sequence[Buffer], failed: int, operations: Sequence[Operation], configuration: Configuration
) -> str:
    passing = {
        f"{role} of operation {index}": name
        for index, operation in enumerate(operations)
        for role, name in operands(operation)
    }
    buffer, (first, second) = found[failed], configuration.bank_bytes
    sizes: dict[str, int] = {}
    beside = (other for other in found if other is not buffer and other.meets(buffer))
    for other in (buffer, *sorted(beside, key=lambda other: -other.words)):
        name = other.tensors[0]
        part = name.partition(", strip ")[0]
        name = f"rows of {passing[part]!r}" if part in passing else repr(name)
        sizes[name] = sizes.get(name, 0) + other.words * configuration.input_lanes
    (worst, *others) = (f"{name} ({size} bytes)" for name, size in sizes.items())
    company = f" beside {', '.join(others[:3])}" if others else ""
    return (
        f"the activation banks of {first} and {second} bytes have no room for {worst}{company}; "
        "choose a configuration with larger banks"
    )
