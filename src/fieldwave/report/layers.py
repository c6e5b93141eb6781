"""Where the time of every layer goes."""

from __future__ import annotations

from collections.abc import Sequence

from fieldwave.compiler.operations import Operation, count_macs
from fieldwave.compiler.queues import Task
from fieldwave.compiler.schedule import Plan
from fieldwave.compiler.timeline import Span
from fieldwave.report.facts import PARTS, Layer

__all__ = ["layers_of"]


def layers_of(plan: Plan, pairs: Sequence[tuple[Task, Span]], start: int, end: int, missing: int) -> list[Layer]:
    """The layers of one NPU section; their parts add up to its time.

    Args:
        pairs: each task, with what became of it.
        start, end: of the section, cycles.
        missing: descriptors that the hardware kept no trace of; what time remains is theirs.
    """
    multipliers = plan.configuration.multipliers
    parts: list[dict[str, int]] = [dict.fromkeys(PARTS, 0) for _ in plan.operations]
    moved = [[0, 0, 0] for _ in plan.operations]
    for task, span in pairs:
        sums = moved[task.operation]
        sums[0] += span.bytes_read
        sums[1] += span.bytes_written
        sums[2] += 1
    before = start
    last: dict[str, int] = {}
    for task, span in pairs:
        if task.queue != "compute":
            continue
        spent = parts[task.operation]
        spent["idle lanes" if span.array_cycles else "pool"] += span.vectors
        for cause, cycles in span.waits.items():
            spent[cause] += cycles
        spent["transfer"] += span.wait
        gap = span.start - before - span.wait
        spent["between"] += max(0, gap)
        _hide(max(0, -gap), spent, last)
        before, last = span.end, spent
    found = []
    for operation, spent, (read, written, count) in zip(plan.operations, parts, moved, strict=True):
        macs = count_macs(operation, plan.layouts[operation.output].map)
        spent["multiply"] = min(spent["idle lanes"], round(macs / multipliers))
        spent["idle lanes"] -= spent["multiply"]
        _round(spent)
        used = {part: cycles for part, cycles in spent.items() if cycles}
        result = str(plan.layouts[operation.output].map)
        found.append(
            Layer(operation.name, operation.nodes, _kind(operation), result, used, macs, read, written, count)
        )
    if end > before:
        name, part = (
            (f"{missing} descriptors without a trace", "lost") if missing else ("the last stores", "transfer")
        )
        found.append(Layer(name, (), "", "", {part: end - before}, 0, 0, 0, missing))
    return found


def _hide(cycles: int, spent: dict[str, int], last: dict[str, int]) -> None:
    """Take off what two descriptors did at the same time: one drained while the next began."""
    for parts, cause in ((last, "drain"), (spent, "fill"), (spent, "transfer"), (last, "lost"), (spent, "lost")):
        hidden = min(cycles, parts.get(cause, 0))
        if hidden > 0:
            parts[cause] -= hidden
            cycles -= hidden
    if cycles:
        spent["idle lanes" if spent["idle lanes"] else "pool"] -= cycles


def _round(spent: dict[str, int]) -> None:
    """Where an estimate was rounded below zero, the largest part makes up for it."""
    largest = max(spent, key=lambda part: spent[part])
    for part, cycles in spent.items():
        if cycles < 0:
            spent[part] = 0
            spent[largest] += cycles


def _kind(operation: Operation) -> str:
    (height, width), strides = operation.window.kernel, operation.window.strides
    text = f"{operation.opcode.name} {height} x {width}"
    if strides != (1, 1):
        text += f" / {strides[0]} x {strides[1]}"
    if operation.group > 1:
        text += f", {operation.group} groups"
    if operation.residual is not None:
        text += " + residual"
    if operation.pool is not None:
        height, width = operation.pool.window.kernel
        text += f", then MAX {height} x {width}"
    return text
