"""What the compiler decided, as text: one block for each pass."""

from __future__ import annotations

from collections.abc import Iterator

from fieldwave.compiler.compiler import Compiled
from fieldwave.compiler.emit import Image
from fieldwave.compiler.operations import count_macs
from fieldwave.compiler.records import read_records, stream_beats, transfer_bytes
from fieldwave.compiler.schedule import Plan
from fieldwave.compiler.tile import array_cycles
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["explain"]


def explain(compiled: Compiled) -> str:
    """The decisions of every pass, section by section."""
    lines: list[str] = []
    plans, images = iter(compiled.plans), iter(compiled.images)
    for number, section in enumerate(compiled.sections):
        lines.append(f"section {number} on the {section.side}: {len(section.nodes)} nodes")
        if section.side == "host":
            reasons = compiled.lowering.refusals
            lines.extend(
                f"  {n.name} ({n.op}): {reasons.get(n.name, 'nothing to compute')}" for n in section.nodes
            )
            continue
        plan, image = next(plans), next(images)
        for title, block in (
            ("operations", _operations(plan)),
            ("folded inputs", _folds(plan)),
            ("layouts that are not plain", _layouts(plan)),
            ("tiles", _tiles(plan)),
            ("activation memory", _memory(plan)),
            ("descriptors", _descriptors(plan, image)),
        ):
            text = [f"    {line}" for line in block]
            lines.extend([f"  {title}", *text] if text else [])
    return "\n".join(lines) + "\n"


def _operations(plan: Plan) -> Iterator[str]:
    for operation in plan.operations:
        kernel, strides = operation.window.kernel, operation.window.strides
        text = f"{operation.opcode.name} {kernel[0]} x {kernel[1]}"
        if strides != (1, 1):
            text += f" / {strides[0]} x {strides[1]}"
        text += f"  {operation.input} ({plan.layouts[operation.input].map})"
        if operation.prescale is not None:
            text += " scaled"
        if operation.residual is not None:
            text += f" + {operation.residual.tensor}"
        text += f" -> {operation.output} ({plan.layouts[operation.output].map})"
        fused = ", ".join(operation.nodes)
        yield f"{text}  [{fused}]"


def _folds(plan: Plan) -> Iterator[str]:
    for name, fold in plan.folds.items():
        (rows, columns), laid = fold.taps, plan.layouts[name].map
        yield f"{name}: {rows} x {columns} taps of {plan.maps[name]} side by side, {laid}"


def _layouts(plan: Plan) -> Iterator[str]:
    """Tensors that share pixels with others, or have lanes without a channel between those with one."""
    for name, layout in plan.layouts.items():
        gaps = int(layout.lanes[-1]) + 1 - len(layout.lanes)
        if layout.buffer == name and not gaps and layout.pitch == layout.words:
            continue
        text = f"{name}: {len(layout.lanes)} channels, {layout.words} words"
        if layout.buffer != name:
            text += f" from word {layout.offset} of {layout.buffer}"
        yield f"{text}, every {layout.pitch} words" + (f", {gaps} lanes between them empty" if gaps else "")


def _tiles(plan: Plan) -> Iterator[str]:
    useful = total = 0
    for operation, tilings in zip(plan.operations, plan.tilings, strict=True):
        tiling = tilings[0]
        cycles = sum(array_cycles(operation, t, run, plan.configuration) for t in tilings for run in t.runs)
        macs = count_macs(operation, plan.layouts[operation.output].map)
        strips = f"{len(tilings)} strips of " if len(tilings) > 1 else ""
        useful, total = useful + macs, total + cycles
        repeated = ", weights once per block" if any(tiling.repeat) else ""
        tiles = sum(run.tiles for run in tiling.runs)
        runs = f" in {len(tiling.runs)} descriptors" if len(tiling.runs) > 1 else ""
        yield (
            f"{operation.name}: {strips}{tiles} tiles{runs} x {tiling.blocks} blocks of {tiling.block_pixels} "
            f"pixels{repeated}: {cycles} cycles, {_share(macs, cycles, plan.configuration)} of the array"
        )
    yield f"together at least {total} cycles, {_share(useful, total, plan.configuration)} of the array"


def _share(macs: int, cycles: int, configuration: Configuration) -> str:
    return f"{100 * macs / (cycles * configuration.multipliers):.1f} %"


def _memory(plan: Plan) -> Iterator[str]:
    lanes = plan.configuration.input_lanes
    for buffer, place in zip(plan.memory.buffers, plan.memory.places, strict=True):
        end = place.base + buffer.words
        yield (
            f"bank {place.bank} words {place.base} to {end} ({buffer.words * lanes} bytes), "
            f"steps {buffer.first} to {buffer.last}: {', '.join(buffer.tensors)}"
        )
    for name in sorted(plan.memory.streamed):
        yield f"memory: {name} ({plan.layouts[name].map})"
    for bank, words in enumerate(plan.configuration.bank_words):
        peaks = (
            place.base + buffer.words
            for buffer, place in zip(plan.memory.buffers, plan.memory.places, strict=True)
            if place.bank == bank
        )
        yield f"bank {bank}: {max(peaks, default=0)} of {words} words"


def _descriptors(plan: Plan, image: Image) -> Iterator[str]:
    """The queues, in an order in which they could run one by one: what each waits for, and what it moves."""
    configuration = plan.configuration
    records = read_records(image.data, configuration)
    queues = {"compute": iter(records.compute), "transfer": iter(records.transfer)}
    others = {"compute": "transfers", "transfer": "computations"}
    for task in image.tasks:
        fields = next(queues[task.queue])
        text = f"{task.queue:8} {Opcode(fields['opcode']).name:7} {task.label}"
        if task.queue == "transfer":
            text += f": {transfer_bytes(fields, configuration)} bytes"
        elif stream := stream_beats(fields, configuration) * configuration.port_bytes:
            text += f": {stream} bytes of the stream"
        yield text + (f", after {fields['wait']} {others[task.queue]}" if fields["wait"] else "")
    yield f"image of {len(image.data)} bytes, memory of {image.arena_bytes} bytes"
