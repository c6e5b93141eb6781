"""The image of a program: what the hardware reads."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.compiler.early import with_early_steps
from fieldwave.compiler.queues import Task, waits
from fieldwave.compiler.schedule import Plan, schedule
from fieldwave.compiler.stream import stream
from fieldwave.compiler.tensors import MemoryTensor, in_memory
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE, HEADER, MAGIC, TRANSFER, VERSION, Opcode

__all__ = ["Image", "emit"]

ALIGNMENT = 128
"""Bytes: tensors begin at multiples of it, and of a beat."""


@dataclass(frozen=True)
class Image:
    """A program: its bytes, the memory that it needs, the tensors in it, and its descriptors for readers."""

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
        for operation, tilings in zip(plan.operations, plan.tilings, strict=True)
        for tiling in tilings
        for piece in stream(operation, tiling, plan.layouts, configuration)
    )
    # How many descriptors there are does not depend on where the tensors lie.
    unplaced = {name: _tensor(plan, name, name, 0) for name in _in_memory(plan)}
    tasks = list(schedule(plan, unplaced))
    count = sum(task.queue == "compute" for task in tasks)
    stride = configuration.record_stride
    transfer_offset = (2 + count) * stride
    stream_offset = transfer_offset + (1 + len(tasks) - count) * stride
    end = _aligned(stream_offset + len(weights), configuration)
    offsets: dict[str, int] = {}
    joined: dict[str, int] = {}  # streamed tensors that are joined lie in memory once
    for name, tensor in unplaced.items():
        buffer = plan.layouts[name].buffer
        if name in plan.memory.streamed and buffer in joined:
            offsets[name] = joined[buffer]
            continue
        offsets[name] = end
        if name in plan.memory.streamed:
            joined[buffer] = end
            end += tensor.pixel_step  # a part begins within its first pixel, and counts its rows from there
        end = _aligned(end + tensor.size, configuration)

    placed = {name: _tensor(plan, name, name, offset) for name, offset in offsets.items()}
    tasks = with_early_steps(list(schedule(plan, placed)), configuration)
    queues: dict[str, list[bytes]] = {"compute": [], "transfer": []}
    for task, wait in zip(tasks, waits(tasks), strict=True):
        record = COMPUTE if task.queue == "compute" else TRANSFER
        queues[task.queue].append(record.encode({**task.fields, "wait": wait}))
    ends = COMPUTE.encode({"opcode": Opcode.END}), TRANSFER.encode({"opcode": Opcode.END})
    header = HEADER.encode(
        {
            "magic": MAGIC,
            "version": VERSION,
            "fingerprint": configuration.fingerprint,
            "compute_offset": stride,
            "transfer_offset": transfer_offset,
            "stream_offset": stream_offset,
            "stream_beats": len(weights) // configuration.port_bytes,
            "arena_bytes": end,
        }
    )
    records = (header, *queues["compute"], ends[0], *queues["transfer"], ends[1])
    data = b"".join((*(record.ljust(stride, b"\0") for record in records), weights))
    inputs, outputs = (
        tuple(_tensor(plan, name, real, offsets[real]) for name, real in names.items())
        for names in (plan.inputs, plan.outputs)
    )
    return Image(data, end, inputs, outputs, tuple(tasks))


def _in_memory(plan: Plan) -> list[str]:
    """Every tensor that has a place in memory: what comes and goes, and what is streamed."""
    names = (*plan.inputs.values(), *plan.outputs.values(), *sorted(plan.memory.streamed))
    return list(dict.fromkeys(names))


def _tensor(plan: Plan, name: str, real: str, offset: int) -> MemoryTensor:
    layout = plan.layouts[real]
    size, fold = plan.maps.get(name, layout.map), plan.folds.get(name)
    return in_memory(name, size, layout, offset, plan.configuration, fold, joined=real in plan.memory.streamed)


def _aligned(size: int, configuration: Configuration) -> int:
    unit = max(ALIGNMENT, configuration.port_bytes)
    return -(-size // unit) * unit
