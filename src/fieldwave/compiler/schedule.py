"""Every descriptor, in an order in which they could run one by one: load a step ahead, store at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldwave.compiler.buffers import strip_buffer
from fieldwave.compiler.descriptors import compute_fields
from fieldwave.compiler.fold import Fold
from fieldwave.compiler.layout import Layout
from fieldwave.compiler.memory import MemoryPlan, Slab
from fieldwave.compiler.operations import FeatureMap, Operation
from fieldwave.compiler.queues import Region, Task
from fieldwave.compiler.strips import Role, operands, rows
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
    memory, starts = plan.memory, plan.memory.starts
    arrivals: dict[int, list[Task]] = {}  # step -> what is loaded during or before it
    loaded = set(plan.memory.streamed)
    comes = set(plan.inputs.values())
    for index, operation in enumerate(plan.operations):
        for role, name in operands(operation):
            if role != "output" and name in comes - loaded:
                loaded.add(name)
                task = _whole(plan, Opcode.LOAD, name, tensors[name], index, memory.loaded(name))
                arrivals.setdefault(task.step, []).append(task)
        for number in range(len(memory.strips[index])):
            for task in _loads(plan, index, number, tensors):
                arrivals.setdefault(task.step, []).append(task)
    complete = _completions(plan, set(plan.outputs.values()) - memory.streamed)
    for index, operation in enumerate(plan.operations):
        for number in range(len(memory.strips[index])):
            step = starts[index] + number
            yield from arrivals.get(step, ())
            yield from _computes(plan, index, number)
            if operation.output in memory.streamed:
                yield _rows(plan, Opcode.STORE, index, "output", number, tensors[operation.output], step)
        for name in complete[index]:
            yield _whole(plan, Opcode.STORE, name, tensors[name], index, starts[index + 1] - 1)


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
            step = plan.memory.loaded(strip_buffer(index, role, number))
            yield _rows(plan, Opcode.LOAD, index, role, number, tensors[name], step)


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
            index, plan.memory.starts[index] + number,
        )  # fmt: skip


def _region(plan: Plan, index: int, role: Role, number: int) -> Region:
    """The words of activation memory that a strip touches, or that lie between them."""
    operation = plan.operations[index]
    layout = plan.layouts[dict(operands(operation))[role]]
    slab = plan.memory.slab(index, operation, role, layout, number)
    strip = plan.memory.strips[index][number]
    first, last = rows(operation, role, layout.map.height, strip)
    if role == "output" and strip.continues:
        last = min(last + 1, layout.map.height)  # its last row of results may begin another row of windows
    start = slab.base + (first - slab.first) * slab.step
    unused = max(0, slab.pitch - layout.words)
    return Region(slab.bank, start, start + (last - first) * slab.step - unused)


def _rows(
    plan: Plan, opcode: Opcode, index: int, role: Role, number: int, tensor: MemoryTensor, step: int
) -> Task:
    """A strip's rows of a streamed tensor."""
    operation = plan.operations[index]
    layout = plan.layouts[dict(operands(operation))[role]]
    slab = plan.memory.slab(index, operation, role, layout, number)
    fields = _transfer_fields(opcode, slab, layout, tensor, plan.configuration)
    region = _region(plan, index, role, number)
    return _transfer(opcode, f"{tensor.name} rows {slab.first}", fields, region, index, step)


def _whole(plan: Plan, opcode: Opcode, name: str, tensor: MemoryTensor, index: int, step: int) -> Task:
    """A tensor that stays on the chip, or a part of a joined one."""
    layout = plan.layouts[name]
    place = plan.memory.place(name, layout)
    slab = Slab(place.bank, place.base, 0, layout.map.height, layout.row_step, layout.pitch)
    fields = _transfer_fields(opcode, slab, layout, tensor, plan.configuration)
    region = Region(place.bank, place.base, place.base + layout.span)
    return _transfer(opcode, tensor.name, fields, region, index, step)


def _transfer_fields(
    opcode: Opcode, slab: Slab, layout: Layout, tensor: MemoryTensor, configuration: Configuration
) -> dict[str, int]:
    """Rows of a tensor, one long row where memory has no gaps between them, or pixels where there are gaps."""
    width = layout.map.width
    offset = tensor.offset + slab.first * tensor.row_step + slab.word * configuration.input_lanes
    dense = layout.alone and tensor.pixel_step == slab.pitch * configuration.input_lanes
    if dense and tensor.row_step == tensor.pixel_step * width:
        count, words, bank_step, memory_step = 1, slab.step * slab.rows, slab.step, tensor.row_step
    elif dense:
        count, words, bank_step, memory_step = slab.rows, slab.step, slab.step, tensor.row_step
    else:
        words = min(slab.pitch, layout.words)
        count, bank_step, memory_step = slab.rows * width, slab.pitch, tensor.pixel_step
    return {
        "opcode": int(opcode),
        "bank": slab.bank,
        "rows": count,
        "row_words": words,
        "bank_base": slab.base,
        "bank_row_step": bank_step,
        "memory_offset": offset,
        "memory_row_step": memory_step,
    }


def _transfer(opcode: Opcode, label: str, fields: dict[str, int], region: Region, index: int, step: int) -> Task:
    reads, writes = ((), (region,)) if opcode == Opcode.LOAD else ((region,), ())
    return Task("transfer", label, fields, reads, writes, index, step)
