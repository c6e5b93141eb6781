"""Every descriptor, in an order in which they could run one by one: load a strip ahead, store at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldwave.compiler.descriptors import compute_fields
from fieldwave.compiler.fold import Fold
from fieldwave.compiler.layout import Layout
from fieldwave.compiler.memory import MemoryPlan, Slab
from fieldwave.compiler.operations import FeatureMap, Operation
from fieldwave.compiler.queues import Region, Task
from fieldwave.compiler.strips import Role, operands
from fieldwave.compiler.tensors import MemoryTensor
from fieldwave.compiler.tile import Tiling
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Plan", "schedule"]


@dataclass(frozen=True)
class Plan:
    """All that the passes decided about one NPU section.

    Attributes:
        configuration: of the hardware.
        operations: in order.
        layouts, memory: where tensors lie.
        tilings: of each operation, for each of its strips.
        inputs, outputs: tensors that come and go: name in the graph -> the tensor whose bytes it has.
        maps: their sizes, as the graph sees them.
        folds: inputs that are folded.
    """

    configuration: Configuration
    operations: tuple[Operation, ...]
    layouts: Mapping[str, Layout]
    memory: MemoryPlan
    tilings: tuple[tuple[Tiling, ...], ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    maps: Mapping[str, FeatureMap]
    folds: Mapping[str, Fold]


def schedule(plan: Plan, tensors: Mapping[str, MemoryTensor]) -> Iterator[Task]:
    """The tasks of both queues.

    Args:
        tensors: everything that has a place in memory: inputs, outputs, streamed tensors.
    """
    streamed = plan.memory.streamed
    waiting = set(plan.inputs.values()) - streamed
    complete = _completions(plan, set(plan.outputs.values()) - streamed)
    for index, operation in enumerate(plan.operations):
        for name in operation.reads:
            if name in waiting:
                waiting.remove(name)
                yield _whole(plan, Opcode.LOAD, name, tensors[name], index)
        count = len(plan.memory.strips[index])
        yield from _loads(plan, index, 0, tensors)
        for number in range(count):
            if number + 1 < count:
                yield from _loads(plan, index, number + 1, tensors)
            yield from _computes(plan, index, number)
            if operation.output in streamed:
                yield _rows(plan, Opcode.STORE, index, "output", number, tensors[operation.output])
        for name in complete[index]:
            yield _whole(plan, Opcode.STORE, name, tensors[name], index)


def _completions(plan: Plan, wanted: set[str]) -> list[list[str]]:
    """For each operation the wanted tensors that are complete after it; a joined one is with its last part."""
    last: dict[str, int] = {}
    for index, operation in enumerate(plan.operations):
        written = plan.layouts[operation.output]
        for name in sorted(wanted):
            whole = plan.layouts[name]
            inside = whole.offset <= written.offset < whole.offset + whole.words
            if written.buffer == whole.buffer and inside:
                last[name] = index
    return [[name for name, at in last.items() if at == index] for index in range(len(plan.operations))]


def _loads(plan: Plan, index: int, number: int, tensors: Mapping[str, MemoryTensor]) -> Iterator[Task]:
    for role, name in operands(plan.operations[index]):
        if role != "output" and name in plan.memory.streamed:
            yield _rows(plan, Opcode.LOAD, index, role, number, tensors[name])


def _computes(plan: Plan, index: int, number: int) -> Iterator[Task]:
    operation, tiling = plan.operations[index], plan.tilings[index][number]
    strips = plan.memory.strips[index]
    layouts = {role: plan.layouts[name] for role, name in operands(operation)}
    slabs = {role: plan.memory.slab(index, operation, role, layouts[role], number) for role in layouts}
    regions = {role: _region(plan, index, role, number) for role in layouts}
    label = operation.name if len(strips) == 1 else f"{operation.name} rows {strips[number].first}"
    for run in range(len(tiling.runs)):
        fields = compute_fields(
            operation, strips[number], tiling, run,
            (layouts["input"], layouts["output"], layouts.get("residual")),
            (slabs["input"], slabs["output"], slabs.get("residual")), plan.configuration,
        )  # fmt: skip
        yield Task(
            "compute", label if len(tiling.runs) == 1 else f"{label} run {run}", fields,
            tuple(region for role, region in regions.items() if role != "output"), (regions["output"],),
            index, index,
        )  # fmt: skip


def _region(plan: Plan, index: int, role: Role, number: int) -> Region:
    """The words of activation memory that a strip touches, or that lie between them."""
    operation = plan.operations[index]
    name = dict(operands(operation))[role]
    layout = plan.layouts[name]
    if name not in plan.memory.streamed:
        place = plan.memory.place(name, layout)
        return Region(place.bank, place.base, place.base + layout.span)
    return _slab_region(plan.memory.slab(index, operation, role, layout, number))


def _slab_region(slab: Slab) -> Region:
    return Region(slab.bank, slab.base, slab.base + slab.rows * slab.step)


def _rows(plan: Plan, opcode: Opcode, index: int, role: Role, number: int, tensor: MemoryTensor) -> Task:
    """A strip's rows of a streamed tensor."""
    operation = plan.operations[index]
    layout = plan.layouts[dict(operands(operation))[role]]
    slab = plan.memory.slab(index, operation, role, layout, number)
    fields = _transfer_fields(opcode, slab, layout, tensor)
    return _transfer(opcode, f"{tensor.name} rows {slab.first}", fields, _slab_region(slab), index)


def _whole(plan: Plan, opcode: Opcode, name: str, tensor: MemoryTensor, index: int) -> Task:
    """A tensor that stays on the chip, or a part of a joined one."""
    layout = plan.layouts[name]
    place = plan.memory.place(name, layout)
    if layout.alone:
        slab = Slab(place.bank, place.base, 0, layout.map.height, layout.row_step)
        fields = _transfer_fields(opcode, slab, layout, tensor)
    else:
        fields = {
            "opcode": int(opcode),
            "bank": place.bank,
            "rows": layout.map.pixels,
            "row_words": layout.words,
            "bank_base": place.base,
            "bank_row_step": layout.pitch,
            "memory_offset": tensor.offset,
            "memory_row_step": tensor.pixel_step,
        }
    return _transfer(opcode, tensor.name, fields, Region(place.bank, place.base, place.base + layout.span), index)


def _transfer_fields(opcode: Opcode, slab: Slab, layout: Layout, tensor: MemoryTensor) -> dict[str, int]:
    """Rows of a tensor that stands alone; one long row where memory has no gaps between them."""
    gapless = tensor.row_step == tensor.pixel_step * tensor.width
    return {
        "opcode": int(opcode),
        "bank": slab.bank,
        "rows": 1 if gapless else slab.rows,
        "row_words": slab.step * (slab.rows if gapless else 1),
        "bank_base": slab.base,
        "bank_row_step": slab.step,
        "memory_offset": tensor.offset + slab.first * tensor.row_step,
        "memory_row_step": tensor.row_step,
    }


def _transfer(opcode: Opcode, label: str, fields: dict[str, int], region: Region, index: int) -> Task:
    reads, writes = ((), (region,)) if opcode == Opcode.LOAD else ((region,), ())
    return Task("transfer", label, fields, reads, writes, index, index)
