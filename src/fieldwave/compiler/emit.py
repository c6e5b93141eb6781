"""Descriptors and the image of a program: what the hardware reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.memory import MemoryPlan
from fieldwave.compiler.operations import FeatureMap, Operation
from fieldwave.compiler.queues import Region, Task, waits
from fieldwave.compiler.stream import stream
from fieldwave.compiler.tensors import MemoryTensor, in_memory
from fieldwave.compiler.tile import Run, Tiling
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE, HEADER, MAGIC, RECORD_BYTES, TRANSFER, VERSION, Opcode

__all__ = ["Image", "Plan", "emit"]

ADDRESS = 1 << COMPUTE.positions["input_base"][0].bits
ALIGNMENT = 128
"""Bytes: a whole number of beats on every port."""


@dataclass(frozen=True)
class Plan:
    """All that the passes decided about one NPU section.

    Attributes:
        configuration: of the hardware.
        operations: in order.
        layouts, memory: where tensors lie.
        tilings: one for each operation.
        inputs, outputs: tensors to load and to store: name in the graph -> the tensor whose bytes it has.
        maps: their sizes, as the graph sees them.
    """

    configuration: Configuration
    operations: tuple[Operation, ...]
    layouts: Mapping[str, Layout]
    memory: MemoryPlan
    tilings: tuple[Tiling, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    maps: Mapping[str, FeatureMap]

    def region(self, tensor: str) -> Region:
        """The activation memory between a tensor's first word and its last."""
        place = self.memory.place(tensor, self.layouts[tensor])
        return Region(place.bank, place.base, place.base + self.layouts[tensor].span)


@dataclass(frozen=True)
class Image:
    """A program: its bytes, the memory that it needs, and the tensors in it."""

    data: bytes
    arena_bytes: int
    inputs: tuple[MemoryTensor, ...]
    outputs: tuple[MemoryTensor, ...]
    tasks: tuple[Task, ...]


def emit(plan: Plan) -> Image:
    """Write the program: header, both queues, stream; the tensors' memory follows, and is not in ``data``."""
    configuration = plan.configuration
    weights = b"".join(
        piece
        for operation, tiling in zip(plan.operations, plan.tilings, strict=True)
        for piece in stream(operation, tiling, plan.layouts, configuration)
    )
    transfer_offset = (2 + sum(len(tiling.runs) for tiling in plan.tilings)) * RECORD_BYTES
    most_transfers = len({*plan.inputs.values(), *plan.outputs.values()})
    stream_offset = transfer_offset + (1 + most_transfers) * RECORD_BYTES
    end = _aligned(stream_offset + len(weights))
    offsets: dict[str, int] = {}
    tensors = []
    for name, real in (*plan.inputs.items(), *plan.outputs.items()):
        tensor = in_memory(name, plan.maps[name], plan.layouts[real], offsets.setdefault(real, end), configuration)
        end = max(end, _aligned(tensor.offset + tensor.size))
        tensors.append(tensor)

    tasks = tuple(_tasks(plan, {tensor.name: tensor for tensor in tensors}))
    queues: dict[str, list[bytes]] = {"compute": [], "transfer": []}
    for task, wait in zip(tasks, waits(tasks), strict=True):
        record = COMPUTE if task.queue == "compute" else TRANSFER
        queues[task.queue].append(record.encode({**task.fields, "wait": wait}))
    done = {"compute": len(queues["transfer"]), "transfer": len(queues["compute"])}
    for name, record in (("compute", COMPUTE), ("transfer", TRANSFER)):
        queues[name].append(record.encode({"opcode": Opcode.END, "wait": done[name]}))
    header = HEADER.encode(
        {
            "magic": MAGIC,
            "version": VERSION,
            "fingerprint": configuration.fingerprint,
            "compute_offset": RECORD_BYTES,
            "transfer_offset": transfer_offset,
            "stream_offset": stream_offset,
            "stream_beats": len(weights) // configuration.port_bytes,
            "arena_bytes": end,
        }
    )
    lists = b"".join((header, *queues["compute"], *queues["transfer"]))
    inputs, outputs = tensors[: len(plan.inputs)], tensors[len(plan.inputs) :]
    return Image(lists.ljust(stream_offset, b"\0") + weights, end, tuple(inputs), tuple(outputs), tasks)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _tasks(plan: Plan, tensors: Mapping[str, MemoryTensor]) -> Iterator[Task]:
    """Every descriptor in an order in which they could run one by one: load late, store at once."""
    waiting = {real: name for name, real in reversed(list(plan.inputs.items()))}
    wanted = {real: name for name, real in reversed(list(plan.outputs.items()))}
    joined = _completions(plan, wanted)
    for index, (operation, tiling) in enumerate(zip(plan.operations, plan.tilings, strict=True)):
        for real in operation.reads:
            if real in waiting:
                yield _transfer(plan, Opcode.LOAD, real, tensors[waiting.pop(real)])
        for number, (run, repeat) in enumerate(zip(tiling.runs, tiling.repeat, strict=True)):
            label = operation.name if len(tiling.runs) == 1 else f"{operation.name} [{number}]"
            yield Task(
                "compute", label, compute_fields(plan, operation, tiling, run, repeat),
                tuple(plan.region(name) for name in operation.reads), (plan.region(operation.output),),
            )  # fmt: skip
        for real in joined[index]:
            yield _transfer(plan, Opcode.STORE, real, tensors[wanted[real]])


def _completions(plan: Plan, wanted: Mapping[str, str]) -> list[list[str]]:
    """For each operation the wanted tensors that are complete after it; a joined one is with its last part."""
    last: dict[str, int] = {}
    for index, operation in enumerate(plan.operations):
        written = plan.layouts[operation.output]
        for real in wanted:
            whole = plan.layouts[real]
            inside = written.buffer == whole.buffer and (
                whole.offset <= written.offset < whole.offset + whole.words
            )
            if inside:
                last[real] = index
    return [[real for real, at in last.items() if at == index] for index in range(len(plan.operations))]


def _transfer(plan: Plan, opcode: Opcode, real: str, tensor: MemoryTensor) -> Task:
    layout = plan.layouts[real]
    place = plan.memory.place(real, layout)
    whole = layout.pitch == layout.words
    fields = {
        "opcode": int(opcode),
        "bank": place.bank,
        "rows": 1 if whole else layout.map.pixels,
        "row_words": layout.words * (layout.map.pixels if whole else 1),
        "bank_base": place.base,
        "bank_row_step": layout.pitch,
        "memory_offset": tensor.offset,
        "memory_row_step": 0 if whole else tensor.pixel_step,
    }
    region = (plan.region(real),)
    reads, writes = ((), region) if opcode == Opcode.LOAD else (region, ())
    return Task("transfer", tensor.name, fields, reads, writes)


def compute_fields(plan: Plan, operation: Operation, tiling: Tiling, run: Run, repeat: bool) -> dict[str, int]:
    """The fields of one compute descriptor, but for its wait."""
    source, result = plan.layouts[operation.input], plan.layouts[operation.output]
    read, written = plan.memory.place(operation.input, source), plan.memory.place(operation.output, result)
    window = operation.window
    (stride_y, stride_x), (dilation_y, dilation_x) = window.strides, window.dilations
    above, left = window.pads[:2]
    fields = {
        "opcode": int(operation.opcode),
        "repeat": int(repeat),
        "lookup": int(operation.table is not None),
        "tiles": run.tiles,
        "blocks": tiling.blocks,
        "block_pixels": tiling.block_pixels,
        "last_pixels": tiling.last_pixels,
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "input_tiles": run.input_words,
        "steps": window.kernel[0] * window.kernel[1] * run.input_words,
        "output_width": result.map.width,
        "output_height": result.map.height,
        "input_height": source.map.height,
        "input_width": source.map.width,
        "start_y": -above,
        "start_x": -left,
        "stride_y": stride_y,
        "stride_x": stride_x,
        "dilation_y": dilation_y,
        "dilation_x": dilation_x,
        "pad_value": operation.input_zero - 128,
        "input_bank": read.bank,
        "input_base": (read.base + run.input_word - above * source.row_step - left * source.pitch) % ADDRESS,
        "input_x_step": stride_x * source.pitch,
        "input_y_step": stride_y * source.row_step,
        "tap_x_step": dilation_x * source.pitch,
        "tap_y_step": dilation_y * source.row_step,
        "input_tile_step": run.input_step,
        "output_bank": written.bank,
        "output_base": written.base + run.output_word,
        "output_x_step": result.pitch,
        "output_y_step": result.row_step,
        "output_tile_step": 1,
        "clamp_low": -128,
        "clamp_high": 127,
    }
    if operation.average is not None:
        average = operation.average
        fields |= {
            "padding_counts": int(average.padding_counts),
            "average_shift": average.exponent,
            "average_taps": window.kernel[0] * window.kernel[1],
            "output_zero": average.zero - 128,
            "residual_a_zero": average.zero - 128,
        }
    return fields | _residual_fields(plan, operation, run)


def _residual_fields(plan: Plan, operation: Operation, run: Run) -> dict[str, int]:
    residual = operation.residual
    if residual is None:
        return {}
    layout = plan.layouts[residual.tensor]
    place = plan.memory.place(residual.tensor, layout)
    left_a, left_b, right = residual.shifts
    return {
        "residual": 1,
        "residual_a_shift": left_a,
        "residual_a_zero": residual.a_zero - 128,
        "residual_b_shift": left_b,
        "residual_shift": right,
        "residual_b_zero": residual.b_zero - 128,
        "output_zero": residual.zero - 128,
        "clamp_low": residual.low - 128,
        "clamp_high": residual.high - 128,
        "residual_bank": place.bank,
        "residual_base": place.base + run.output_word,
        "residual_x_step": residual.stride[1] * layout.pitch,
        "residual_y_step": residual.stride[0] * layout.row_step,
        "residual_tile_step": 1,
    }
