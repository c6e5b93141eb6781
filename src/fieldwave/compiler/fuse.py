"""Fewer passes over activations: what follows a convolution happens on its way to memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from fieldwave.compiler.operations import Join, Operation, Requantize, Residual
from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

__all__ = ["fuse"]


def fuse(steps: Sequence[Operation | Join], kept: Collection[str]) -> tuple[Operation | Join, ...]:
    """Merge copying convolutions into what makes their input, and subsampling into the residual that reads it.

    Args:
        steps: in order.
        kept: tensors that must exist afterwards.

    A tensor vanishes only where nobody else reads it. The numbers stay the same, bit for bit.
    """
    merged: list[Operation | Join] = []
    for step in steps:
        merged.append(step)
        while isinstance(merged[-1], Operation) and merged[-1].identity:
            result = _merge_copy(merged, steps, kept)
            if result is None:
                break
            merged = result
    return _merge_subsampling(merged, kept)


def _merge_copy(
    merged: list[Operation | Join], steps: Sequence[Operation | Join], kept: Collection[str]
) -> list[Operation | Join] | None:
    """Let the producer of the last step's input do what that step does; None where it cannot."""
    copy = merged[-1]
    assert isinstance(copy, Operation)
    for candidate in (copy, _swapped(copy)):
        if candidate is None or candidate.input in kept or _readers(steps, candidate.input) != 1:
            continue
        for index in range(len(merged) - 2, -1, -1):
            producer = merged[index]
            if isinstance(producer, Operation) and producer.output == candidate.input:
                both = _appended(producer, candidate)
                # The result takes the place of the copy: by then the residual is there, and nobody read it before.
                if both is not None:
                    return [*merged[:index], *merged[index + 1 : -1], both]
    return None


def _appended(first: Operation, copy: Operation) -> Operation | None:
    """One operation for a convolution and a copy of its result with bounds, residual or table."""
    requantize, bounds = first.requantize, copy.requantize
    if first.opcode != Opcode.CONV or first.table is not None or requantize is None or bounds is None:
        return None
    if copy.residual is not None and (first.residual is not None or copy.residual.tensor == first.output):
        return None
    if first.residual is not None:
        low, high = _within(first.residual.low, first.residual.high, bounds)
        residual: Residual | None = replace(first.residual, low=low, high=high)
    else:
        low, high = _within(requantize.low, requantize.high, bounds)
        requantize = replace(requantize, low=low, high=high)
        residual = copy.residual
    return replace(
        first, nodes=first.nodes + copy.nodes, output=copy.output, requantize=requantize, residual=residual,
        table=copy.table, identity=first.identity,
    )  # fmt: skip


def _within(low: int, high: int, then: Requantize) -> tuple[int, int]:
    """The bounds of a clip to low..high followed by that of a copy."""
    return int(np.clip(low, then.low, then.high)), int(np.clip(high, then.low, then.high))


def _swapped(copy: Operation) -> Operation | None:
    """The same sum with its operands exchanged."""
    residual = copy.residual
    if residual is None or copy.requantize is None or (copy.requantize.low, copy.requantize.high) != (0, 255):
        return None
    other = replace(
        residual, tensor=copy.input, a_exponent=residual.b_exponent, a_zero=residual.b_zero,
        b_exponent=residual.a_exponent, b_zero=residual.a_zero,
    )  # fmt: skip
    return replace(copy, input=residual.tensor, residual=other)


def _readers(steps: Sequence[Operation | Join], tensor: str) -> int:
    return sum((step.reads if isinstance(step, Operation) else step.inputs).count(tensor) for step in steps)


def _merge_subsampling(steps: Sequence[Operation | Join], kept: Collection[str]) -> tuple[Operation | Join, ...]:
    """A 1 x 1 pool with a stride whose only reader adds it (the shortcut of a ResNet): the adder strides."""
    pools = {
        step.output: step
        for step in steps
        if isinstance(step, Operation)
        and step.opcode == Opcode.MAX
        and step.window == Window((1, 1), step.window.strides, ceil_mode=step.window.ceil_mode)
        and step.output not in kept
        and _readers(steps, step.output) == 1
    }
    result: list[Operation | Join] = []
    gone = set()
    for step in steps:
        residual = step.residual if isinstance(step, Operation) else None
        if isinstance(step, Operation) and residual is not None and residual.tensor in pools:
            pool = pools[residual.tensor]
            rows, columns = pool.window.strides
            gone.add(pool.output)
            result.append(
                replace(
                    step, nodes=step.nodes + pool.nodes,
                    residual=replace(residual, tensor=pool.input, stride=(rows, columns)),
                )
            )  # fmt: skip
        else:
            result.append(step)
    return tuple(step for step in result if not (isinstance(step, Operation) and step.output in gone))
