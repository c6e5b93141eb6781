"""How each ONNX operator is lowered: checks that it is within what the hardware computes exactly, and its form.

The arithmetic of every operator is that of ``docs/numerics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.compiler.operations import Average, FeatureMap, Join, Move, Operation, Requantize, Residual, Step
from fieldwave.compiler.scope import MOST_SHIFT, Refused, Scope, checked
from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

__all__ = ["OPERATORS"]

POINT = Window((1, 1))
MOST_TAPS = 256
"""Elements of an average's window."""
MOST_GAIN = 7
"""log2 of an average's input scale over its output scale; of small gains the others' limit holds."""
_INT32, _INT64 = 6, 7  # onnx.TensorProto.INT32, INT64

Lowered = tuple[Step, FeatureMap]


def _convolution(s: Scope) -> Lowered:
    source, weights = s.image(), s.symmetric(3, 5)
    if weights.ndim != 4:
        raise Refused(f"weights have shape {list(weights.shape)}; the NPU convolves in two dimensions")
    bias = s.constant(8) if len(s.node.inputs) > 8 and s.node.inputs[8] else np.zeros(len(weights))
    window = s.window(weights.shape[2:])
    factor = golden.multiplier(s.scalar(1), s.constant(4), s.scalar(6))
    operation = Operation(
        (s.node.name,), Opcode.CONV, s.node.inputs[0], s.node.output, window, s.zero(2), weights,
        group=int(s.node.attributes.get("group", 1)), requantize=_requantize(bias, factor, s.zero(7)),
    )  # fmt: skip
    height, width = window.count(0, source.height), window.count(1, source.width)
    return operation, FeatureMap(height, width, len(weights))


def _fully_connected(s: Scope) -> Lowered:
    attributes = s.node.attributes
    if len(s.node.inputs) < 9 or not s.node.inputs[8]:
        raise Refused("its result is float32; the NPU writes uint8")
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("transA", 0):
        raise Refused("alpha must be 1 and transA 0")
    transposed = bool(attributes.get("transB", 0))
    weights = s.symmetric(3, 5) if transposed else s.symmetric(3, 5).T
    bias = s.constant(6) if s.node.inputs[6] else np.zeros(len(weights))
    return _product(s, weights, bias, golden.multiplier(s.scalar(1), s.constant(4), s.scalar(7)), s.zero(8))


def _matrix_product(s: Scope) -> Lowered:
    weights = s.symmetric(3, 5)
    if weights.ndim != 2:
        raise Refused(f"the right side has shape {list(weights.shape)}; the NPU takes a matrix")
    factor = golden.multiplier(s.scalar(1), s.constant(4), s.scalar(6))
    return _product(s, weights.T, np.zeros(weights.shape[1]), factor, s.zero(7))


def _product(s: Scope, weights: NDArray[Any], bias: NDArray[Any], factor: NDArray[Any], zero: int) -> Lowered:
    """[1, K] by weights [M, K]: a convolution whose window is the whole map that was flattened."""
    source = s.map()
    if source.form != "flat":
        raise Refused(f"the left side is {s.types[s.node.inputs[0]]}; the NPU takes [1, K]")
    kernel = (source.height, source.width)
    operation = Operation(
        (s.node.name,), Opcode.CONV, s.node.inputs[0], s.node.output, checked(Window(kernel)), s.zero(2),
        np.ascontiguousarray(weights.reshape(len(weights), source.channels, *kernel)),
        requantize=_requantize(bias, factor, zero),
    )  # fmt: skip
    return operation, FeatureMap(1, 1, len(weights), "flat")


def _add(s: Scope) -> Lowered:
    source, other = s.map(), s.map(3)
    if source != other:
        raise Refused(f"adds {source} and {other}; the NPU adds maps of one size")
    residual = Residual(
        s.node.inputs[3],
        a_exponent=s.exponent(1, 6), a_zero=s.binary_zero(2),
        b_exponent=s.exponent(4, 6), b_zero=s.binary_zero(5),
        zero=s.binary_zero(7),
    )  # fmt: skip
    if max(residual.shifts) > MOST_SHIFT:
        raise Refused(f"its scales differ by 2^{max(residual.shifts)}; the NPU goes up to 2^{MOST_SHIFT}")
    return replace(_copy(s, source), residual=residual), source


def _average_pool(s: Scope) -> Lowered:
    source, window = s.image(), s.window()
    s.channels_first()
    taps = math.prod(window.kernel)
    if taps > MOST_TAPS:
        raise Refused(f"its window has {taps} taps; the NPU averages up to {MOST_TAPS}")
    exponent = s.exponent(1, 3)
    if exponent > MOST_GAIN:
        raise Refused(f"its scales differ by 2^{exponent}; the NPU averages up to 2^{MOST_GAIN}")
    average = Average(exponent, s.binary_zero(4), bool(s.node.attributes.get("count_include_pad", 0)))
    operation = Operation(
        (s.node.name,),
        Opcode.AVERAGE,
        s.node.inputs[0],
        s.node.output,
        window,
        s.binary_zero(2),
        average=average,
    )
    return operation, _pooled(source, window)


def _global_average_pool(s: Scope) -> Lowered:
    source = s.image()
    s.channels_first()
    count = source.pixels
    factor = np.float32(s.scalar(1)) / (np.float32(s.scalar(3)) * np.float32(count))
    operation = Operation(
        (s.node.name,), Opcode.SUM, s.node.inputs[0], s.node.output,
        checked(Window((source.height, source.width))), s.zero(2),
        requantize=_requantize(np.zeros(source.channels), np.asarray(factor, np.float32), s.zero(4)),
    )  # fmt: skip
    return operation, FeatureMap(1, 1, source.channels)


def _max_pool(s: Scope) -> Lowered:
    source, window = s.image(), s.window()
    if len(s.node.outputs) > 1 and s.node.outputs[1]:
        raise Refused("it returns indices; the NPU returns maxima")
    operation = Operation((s.node.name,), Opcode.MAX, s.node.inputs[0], s.node.output, window)
    return operation, _pooled(source, window)


def _clip(s: Scope) -> Lowered:
    source = s.map()
    low, high = (
        int(s.scalar(index)) if len(s.node.inputs) > index and s.node.inputs[index] else default
        for index, default in ((1, 0), (2, 255))
    )
    operation = _copy(s, source)
    assert operation.requantize is not None
    return replace(operation, requantize=replace(operation.requantize, low=min(low, high), high=high)), source


def _lookup(s: Scope) -> Lowered:
    source, table = s.map(1), s.constant(0)
    if table.dtype != np.uint8 or table.shape != (256,) or int(s.node.attributes.get("axis", 0)):
        raise Refused("the NPU looks up in tables of 256 bytes")
    if not s.configuration.lookup:
        raise Refused("this configuration has no look-up tables")
    return replace(_copy(s, source, 1), table=table), source


def _concat(s: Scope) -> Lowered:
    maps = [s.map(index) for index in range(len(s.node.inputs))]
    axis = int(s.node.attributes["axis"]) % len(s.types[s.node.output].shape)
    same = {(m.height, m.width, m.form) for m in maps}
    if axis != 1 or len(same) != 1 or maps[0].form == "nhwc" or (maps[0].form == "flat" and maps[0].pixels > 1):
        raise Refused("the NPU joins maps of one size along their channels")
    return Join(s.node.name, s.node.inputs, s.node.output), replace(
        maps[0], channels=sum(m.channels for m in maps)
    )


def _transpose(s: Scope) -> Lowered:
    source, order = s.map(), s.node.ints("perm", ())
    if (source.form, order) == ("nhwc", (0, 3, 1, 2)):
        return _move(s), replace(source, form="nchw")
    if (source.form, order) == ("nchw", (0, 2, 3, 1)):
        return _move(s), replace(source, form="nhwc")
    raise Refused(f"the NPU has no transposition by {list(order)} of {s.types[s.node.inputs[0]]}")


def _reshape(s: Scope) -> Lowered:
    source, shape = s.map(), s.types[s.node.output].shape
    if source.form != "nhwc" and shape == (1, source.channels * source.pixels):
        return _move(s), replace(source, form="flat")
    if source.form != "nhwc" and shape == (1, source.channels, source.height, source.width):
        return _move(s), replace(source, form="nchw")
    raise Refused(f"the NPU cannot see {s.types[s.node.inputs[0]]} as {list(shape)}")


def _cast(s: Scope) -> Lowered:
    if int(s.node.attributes["to"]) not in (_INT32, _INT64) or {node.op for node in s.readers} != {"Gather"}:
        raise Refused("the NPU works on uint8")
    return _move(s), s.map()


def _move(s: Scope) -> Move:
    return Move(s.node.name, s.node.inputs[0], s.node.output)


def _copy(s: Scope, source: FeatureMap, index: int = 0) -> Operation:
    """A convolution that gives back the bytes of its input: weights and scales of one."""
    count = source.channels
    return Operation(
        (s.node.name,), Opcode.CONV, s.node.inputs[index], s.node.output, POINT,
        weights=np.ones((count, 1, 1, 1), np.int8), group=count, identity=True,
        requantize=Requantize(np.zeros(count, np.int64), np.ones(count, np.float32), 0),
    )  # fmt: skip


def _requantize(bias: NDArray[Any], factor: NDArray[Any], zero: int) -> Requantize:
    if not np.all((factor >= np.finfo(np.float32).tiny) & np.isfinite(factor)):
        raise Refused("a multiplier of its requantization is no normal positive float32")
    scale = np.broadcast_to(np.asarray(factor, np.float32).reshape(-1), bias.shape)
    return Requantize(bias.astype(np.int64), scale, zero)


def _pooled(source: FeatureMap, window: Window) -> FeatureMap:
    return FeatureMap(window.count(0, source.height), window.count(1, source.width), source.channels)


OPERATORS: dict[str, Callable[[Scope], Lowered]] = {
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Flatten": _reshape,
    "Gather": _lookup,
    "MaxPool": _max_pool,
    "QGemm": _fully_connected,
    "QLinearAdd": _add,
    "QLinearAveragePool": _average_pool,
    "QLinearConv": _convolution,
    "QLinearGlobalAveragePool": _global_average_pool,
    "QLinearMatMul": _matrix_product,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
