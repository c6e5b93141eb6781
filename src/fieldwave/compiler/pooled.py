"""Max pools that are computed with the convolution before them: which ones, their rows, and their arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import FeatureMap, Join, Operation, Pool
from fieldwave.errors import DeviceError
from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

__all__ = ["fuse_pools", "pool_fields", "pool_results", "results_needed", "results_width", "why_not_fused"]

LARGEST = 255
"""What a descriptor can say of a window's rows and columns."""


def fuse_pools(
    steps: Sequence[Operation | Join], kept: Collection[str], maps: Mapping[str, FeatureMap]
) -> tuple[Operation | Join, ...]:
    """Let each convolution do the max pool that alone reads its result.

    Args:
        kept: tensors that must exist afterwards.
        maps: sizes.
    """
    readers = Counter(
        name for step in steps for name in (step.reads if isinstance(step, Operation) else step.inputs)
    )
    pools = {
        step.input: step
        for step in steps
        if isinstance(step, Operation)
        and step.opcode == Opcode.MAX
        and step.input not in kept
        and readers[step.input] == 1
        and why_not_fused(step.window, maps[step.input]) is None
    }
    result: list[Operation | Join] = []
    gone = set()
    for step in steps:
        pool = pools.get(step.output)
        if pool is None or not isinstance(step, Operation) or step.opcode != Opcode.CONV or step.residual:
            result.append(step)
            continue
        gone.add(pool.output)
        fused = Pool(pool.window, maps[step.output])
        result.append(replace(step, nodes=step.nodes + pool.nodes, output=pool.output, pool=fused))
    return tuple(
        step
        for step in result
        if not (isinstance(step, Operation) and step.opcode == Opcode.MAX and step.output in gone)
    )


def why_not_fused(window: Window, source: FeatureMap) -> str | None:
    """Why a max pool over ``source`` cannot be computed on the way to memory, or None where it can."""
    if window.dilations != (1, 1):
        return "its window is dilated"
    for axis, size in enumerate((source.height, source.width)):
        kernel, stride = window.kernel[axis], window.strides[axis]
        if not 0 <= kernel - stride <= 1 or kernel > LARGEST:
            return f"its windows of {kernel} and steps of {stride} share neither no pixel nor one"
        if window.pads[axis] >= kernel or window.pads[axis + 2] >= kernel:
            return "a window of it lies in the padding"
        last = (window.count(axis, size) - 1) * stride - window.pads[axis]
        if last >= size or (kernel > 1 and kernel - stride == 1 and last == size - 1):
            return "its last window begins with the last pixel, where another ends"
    return None


def results_needed(window: Window, axis: int, size: int, first: int, last: int) -> tuple[int, int]:
    """The pixels of an axis of ``size`` that windows ``first`` to ``last`` cover; both ends excluded."""
    stride, before = window.strides[axis], window.pads[axis]
    return max(0, first * stride - before), min(size, (last - 1) * stride - before + window.kernel[axis])


def results_width(operation: Operation, width: int) -> int:
    """Results per row of an operation whose output has rows of ``width``: those that a window covers."""
    if operation.pool is None:
        return width
    return results_needed(operation.pool.window, 1, operation.pool.source.width, 0, width)[1]


def pool_fields(pool: Pool, rows: tuple[int, int], results: tuple[int, int], *, continues: bool) -> dict[str, int]:
    """The fields of a descriptor that computes windows ``rows`` from rows ``results`` of a convolution's map.

    With ``continues`` the output is whole: the descriptor goes on with windows that an earlier one has begun, and
    begins those that its last row belongs to as well.
    """
    window, height = pool.window, pool.source.height
    begun = results_needed(window, 0, height, rows[0], rows[1])[0] < results[0]
    more = continues and rows[1] < window.count(0, height)
    begins = more and results_needed(window, 0, height, rows[1], rows[1] + 1)[0] < results[1]
    return {
        "pool": 1,
        "pool_height": window.kernel[0],
        "pool_width": window.kernel[1],
        "pool_start_y": results[0] - (rows[0] * window.strides[0] - window.pads[0]),
        "pool_start_x": window.pads[1],
        "pool_rows": rows[1] - rows[0] + int(begins),
        "pool_columns": window.count(1, pool.source.width),
        "pool_overlap_y": window.kernel[0] - window.strides[0],
        "pool_overlap_x": window.kernel[1] - window.strides[1],
        "pool_continues": int(begun),
    }


def pool_results(f: Mapping[str, int], results: NDArray[Any], earlier: NDArray[Any]) -> NDArray[Any]:
    """What the hardware makes of a descriptor's results [pixels, lanes]: maxima [windows, lanes].

    Args:
        f: the descriptor.
        earlier: what is at the windows' places; of the first row it counts where the descriptor continues.

    Raises:
        DeviceError: results and windows do not come out even.
    """
    lanes = results.shape[1]
    height, width = f["output_height"], f["output_width"]
    rows = results.reshape(height, width, lanes)
    columns = _spans(f["pool_width"], f["pool_start_x"], f["pool_overlap_x"], width, f["pool_columns"])
    spans = _spans(f["pool_height"], f["pool_start_y"], f["pool_overlap_y"], height, f["pool_rows"])
    if f["pool_overlap_x"] and len(columns) > 1 and columns[-1][0] == width - 1:
        raise DeviceError(f"two windows end with the last result of a row: {f}")
    across = np.stack([rows[:, start:end].max(1) for start, end in columns], 1)
    windows = np.stack([across[start:end].max(0) for start, end in spans])
    if f["pool_continues"]:
        windows[0] = np.maximum(windows[0], earlier[: f["pool_columns"]])
    return windows.reshape(-1, lanes)


def _spans(kernel: int, start: int, overlap: int, size: int, count: int) -> list[tuple[int, int]]:
    """Which of ``size`` results each of ``count`` windows covers; the first begins ``start`` before them."""
    first = [number * (kernel - overlap) - start for number in range(count)]
    spans = [(max(0, begin), min(size, begin + kernel)) for begin in first]
    if first[-1] + kernel < size or any(begin >= end for begin, end in spans):
        raise DeviceError(f"{count} windows of {kernel} results do not cover {size} results from -{start} on")
    return spans
