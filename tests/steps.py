"""What the compiler's operations mean, in numpy, on maps [height, width, channels]: to run them between passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import (
    Average,
    FeatureMap,
    Move,
    Operation,
    Prescale,
    Requantize,
    Residual,
    Step,
)
from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

Map = NDArray[Any]


def run_steps(steps: Sequence[Step], tensors: Mapping[str, Map]) -> dict[str, Map]:
    """Every tensor that the steps make of those that are given, uint8 [height, width, channels]."""
    found = dict(tensors)
    for step in steps:
        if isinstance(step, Operation):
            found[step.output] = _result(step, found)
        elif isinstance(step, Move):
            found[step.output] = found[step.input]
        else:
            found[step.output] = np.concatenate([found[name] for name in step.inputs], 2)
    return found


def as_map(array: NDArray[Any], size: FeatureMap) -> Map:
    """A tensor of the network as [height, width, channels]."""
    if size.form == "nhwc":
        return array.reshape(size.height, size.width, size.channels)
    return array.reshape(size.channels, size.height, size.width).transpose(1, 2, 0)


def _result(operation: Operation, tensors: Mapping[str, Map]) -> Map:
    x = tensors[operation.input].astype(np.int64)
    if operation.prescale is not None:
        x = _scaled(operation.prescale, x)
    zero = operation.input_zero
    match operation.opcode:
        case Opcode.MAX:
            result = _windows(x, operation.window, 0).max((2, 3))
        case Opcode.AVERAGE:
            result = _averages(operation, x)
        case Opcode.SUM:
            result = _requantized(operation.requantize, _windows(x - zero, operation.window, 0).sum((2, 3)))
        case _:
            result = _requantized(operation.requantize, _sums(operation, x - zero))
    if operation.residual is not None:
        result = _added(operation.residual, result, tensors[operation.residual.tensor])
    if operation.table is not None:
        result = operation.table[result].astype(np.int64)
    if operation.pool is not None:
        result = _windows(result, operation.pool.window, 0).max((2, 3))
    return result.astype(np.uint8)


def _windows(x: Map, window: Window, outside: int) -> NDArray[Any]:
    """[rows, columns, kernel rows, kernel columns, channels]; ``outside`` is what padding reads as."""
    counts = [window.count(axis, x.shape[axis]) for axis in range(2)]
    index, valid = [], []
    for axis in range(2):
        starts = np.arange(counts[axis]) * window.strides[axis] - window.pads[axis]
        places = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        valid.append((places >= 0) & (places < x.shape[axis]))
        index.append(np.clip(places, 0, x.shape[axis] - 1))
    found = x[index[0][:, None, :, None], index[1][None, :, None, :]]
    inside = valid[0][:, None, :, None] & valid[1][None, :, None, :]
    return np.where(inside[..., None], found, outside)


def _sums(operation: Operation, x: Map) -> NDArray[Any]:
    weights = operation.weights
    assert weights is not None
    maps, share, *_ = weights.shape
    windows = _windows(x, operation.window, 0)
    parts = []
    for group in range(operation.group):
        own = weights[group * maps // operation.group : (group + 1) * maps // operation.group].astype(np.int64)
        parts.append(np.einsum("yxijc,mcij->yxm", windows[..., group * share : (group + 1) * share], own))
    return np.concatenate(parts, 2)


def _averages(operation: Operation, x: Map) -> Map:
    average: Average | None = operation.average
    assert average is not None
    sums = _windows(x - operation.input_zero, operation.window, 0).sum((2, 3))
    ones = _windows(np.ones((*x.shape[:2], 1), np.int64), operation.window, int(average.padding_counts))
    exact = sums / ones.sum((2, 3)) * 2.0**average.exponent
    return np.clip(np.rint(exact) + average.zero, 0, 255).astype(np.int64)


def _requantized(constants: Requantize | None, sums: NDArray[Any]) -> Map:
    assert constants is not None
    biased = (sums + constants.bias).astype(np.int32).astype(np.float32)
    rounded = np.clip(np.rint(biased * constants.scale), -1024, 1024).astype(np.int64)
    return np.clip(rounded + constants.zero, constants.low, constants.high)


def _scaled(prescale: Prescale, x: Map) -> Map:
    sums = (x - prescale.input_zero) * prescale.weights.astype(np.int64) + prescale.bias
    rounded = np.rint(sums / 2.0**prescale.shifts).astype(np.int64)
    return np.clip(rounded + prescale.zero, prescale.low, prescale.high)


def _added(residual: Residual, a: Map, tensor: Map) -> Map:
    rows, columns = residual.stride
    b = tensor[::rows, ::columns][: a.shape[0], : a.shape[1]].astype(np.int64)
    left = (a - residual.a_zero) * 2.0**residual.a_exponent
    total = np.rint(left + (b - residual.b_zero) * 2.0**residual.b_exponent).astype(np.int64)
    return np.clip(total + residual.zero, residual.low, residual.high)
