"""How each ONNX operator is lowered: checks that it is within what the hardware computes exactly, and its form.

The arithmetic of every operator is that of ``docs/numerics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.compiler.operations import (
    Average,
    FeatureMap,
    Join,
    Move,
    Operation,
    Requantize,
    Residual,
    Step,
)
from fieldwave.compiler.shapes import TensorType
from fieldwave.golden import Window
from fieldwave.graph import Node
from fieldwave.npu.isa import COMPUTE, Opcode

__all__ = ["MOST_SHIFT", "OPERATORS", "Refused", "Scope"]

MOST_SHIFT = 15
"""Bits by which residuals and averages are shifted exactly."""
POINT = Window((1, 1))
_INT32, _INT64 = 6, 7  # onnx.TensorProto.INT32, INT64


class Refused(Exception):
    """The NPU cannot run this node; the message says why."""


@dataclass(frozen=True)
class Scope:
    """A node with all that is known about its surroundings."""

    node: Node
    constants: Mapping[str, NDArray[Any]]
    types: Mapping[str, TensorType]
    maps: Mapping[str, FeatureMap]
    readers: Sequence[Node] = ()

    def activations(self) -> list[str]:
        """The tensors that it reads and makes, without constants."""
        return [n for n in (*self.node.inputs, *self.node.outputs) if n and n not in self.constants]

    def map(self, index: int = 0) -> FeatureMap:
        """The feature map of an input."""
        name = self.node.inputs[index]
        if name in self.constants:
            raise Refused(f"input {name!r} is a constant")
        if name not in self.maps:
            raise Refused(f"input {name!r} is {self.types[name]}; the NPU reads uint8 maps of one image")
        return self.maps[name]

    def image(self) -> FeatureMap:
        """The first input, which must be [1, C, H, W]."""
        found = self.map()
        if found.form != "nchw":
            raise Refused(f"input {self.node.inputs[0]!r} is no [1, C, H, W] map")
        if str(self.node.attributes.get("auto_pad", "NOTSET")) != "NOTSET":
            raise Refused(f"auto_pad is {self.node.attributes['auto_pad']}; write the pads out")
        return found

    def constant(self, index: int) -> NDArray[Any]:
        name = self.node.inputs[index]
        if name not in self.constants:
            raise Refused(f"input {name!r} must be a constant")
        return np.asarray(self.constants[name])

    def scalar(self, index: int) -> Any:
        value = self.constant(index)
        if value.size != 1:
            raise Refused(f"{self.node.inputs[index]!r} holds {value.size} values; the NPU takes one for a tensor")
        return value.reshape(())[()]

    def zero(self, index: int) -> int:
        value = self.scalar(index)
        if value.dtype != np.uint8:
            raise Refused(f"zero point {self.node.inputs[index]!r} is {value.dtype}; activations must be uint8")
        return int(value)


Lowered = tuple[Step, FeatureMap]


def _convolution(s: Scope) -> Lowered:
    source, weights = s.image(), s.constant(3)
    _symmetric(s, weights, 5)
    if weights.ndim != 4:
        raise Refused(f"weights have shape {list(weights.shape)}; the NPU convolves in two dimensions")
    bias = s.constant(8) if len(s.node.inputs) > 8 and s.node.inputs[8] else np.zeros(len(weights))
    window = _window(s, weights.shape[2:])
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
    weights = s.constant(3) if transposed else s.constant(3).T
    bias = s.constant(6) if s.node.inputs[6] else np.zeros(len(weights))
    return _product(s, weights, bias, golden.multiplier(s.scalar(1), s.constant(4), s.scalar(7)), s.zero(8))


def _matrix_product(s: Scope) -> Lowered:
    weights = s.constant(3)
    if weights.ndim != 2:
        raise Refused(f"the right side has shape {list(weights.shape)}; the NPU takes a matrix")
    factor = golden.multiplier(s.scalar(1), s.constant(4), s.scalar(6))
    return _product(s, weights.T, np.zeros(weights.shape[1]), factor, s.zero(7))


def _product(s: Scope, weights: NDArray[Any], bias: NDArray[Any], factor: NDArray[Any], zero: int) -> Lowered:
    """[1, K] by weights [M, K]: a convolution whose window is the whole map that was flattened."""
    source = s.map()
    if source.form != "flat":
        raise Refused(f"the left side is {s.types[s.node.inputs[0]]}; the NPU takes [1, K]")
    _symmetric(s, weights, 5)
    kernel = (source.height, source.width)
    operation = Operation(
        (s.node.name,), Opcode.CONV, s.node.inputs[0], s.node.output, _checked(Window(kernel)), s.zero(2),
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
        a_exponent=_exponent(s, 1, 6), a_zero=_binary_zero(s, 2),
        b_exponent=_exponent(s, 4, 6), b_zero=_binary_zero(s, 5),
        zero=_binary_zero(s, 7),
    )  # fmt: skip
    if max(residual.shifts) > MOST_SHIFT:
        raise Refused(f"its scales differ by 2^{max(residual.shifts)}; the NPU goes up to 2^{MOST_SHIFT}")
    return replace(_copy(s, source), residual=residual), source


def _average_pool(s: Scope) -> Lowered:
    source, window = s.image(), _window(s, s.node.ints("kernel_shape", ()))
    _channels_first(s)
    taps = math.prod(window.kernel)
    if taps > _highest("average_taps"):
        raise Refused(f"its window has {taps} taps; the NPU averages up to {_highest('average_taps')}")
    average = Average(_exponent(s, 1, 3), _binary_zero(s, 4), bool(s.node.attributes.get("count_include_pad", 0)))
    operation = Operation(
        (s.node.name,),
        Opcode.AVERAGE,
        s.node.inputs[0],
        s.node.output,
        window,
        _binary_zero(s, 2),
        average=average,
    )
    return operation, _pooled(source, window)


def _global_average_pool(s: Scope) -> Lowered:
    source = s.image()
    _channels_first(s)
    count = source.pixels
    factor = np.float32(s.scalar(1)) / (np.float32(s.scalar(3)) * np.float32(count))
    operation = Operation(
        (s.node.name,), Opcode.SUM, s.node.inputs[0], s.node.output,
        _checked(Window((source.height, source.width))), s.zero(2),
        requantize=_requantize(np.zeros(source.channels), np.asarray(factor, np.float32), s.zero(4)),
    )  # fmt: skip
    return operation, FeatureMap(1, 1, source.channels)


def _max_pool(s: Scope) -> Lowered:
    source, window = s.image(), _window(s, s.node.ints("kernel_shape", ()))
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


def _symmetric(s: Scope, weights: NDArray[Any], index: int) -> None:
    if weights.dtype != np.int8 or np.any(s.constant(index)):
        raise Refused("its weights are not symmetric int8")


def _channels_first(s: Scope) -> None:
    if int(s.node.attributes.get("channels_last", 0)):
        raise Refused("channels_last must be 0")


def _window(s: Scope, kernel: tuple[int, ...]) -> Window:
    return _checked(Window.of(s.node, tuple(kernel)))


def _checked(window: Window) -> Window:
    for what, field, sizes in (
        ("kernel", "kernel_height", window.kernel),
        ("stride", "stride_y", window.strides),
        ("dilation", "dilation_y", window.dilations),
    ):
        if max(sizes) > _highest(field):
            raise Refused(f"its {what} is {list(sizes)}; the NPU goes up to {_highest(field)}")
    return window


def _pooled(source: FeatureMap, window: Window) -> FeatureMap:
    return FeatureMap(window.count(0, source.height), window.count(1, source.width), source.channels)


def _exponent(s: Scope, scale: int, result: int) -> int:
    fraction, exponent = math.frexp(float(s.scalar(scale)) / float(s.scalar(result)))
    if fraction != 0.5:
        raise Refused("its scales are no powers of two")
    if abs(exponent - 1) > MOST_SHIFT:
        raise Refused(f"its scales differ by 2^{abs(exponent - 1)}; the NPU goes up to 2^{MOST_SHIFT}")
    return exponent - 1


def _binary_zero(s: Scope, index: int) -> int:
    zero = s.zero(index)
    if zero not in (0, 128):
        raise Refused(f"zero point {s.node.inputs[index]!r} is {zero}; here it must be 0 or 128")
    return zero


def _highest(field: str) -> int:
    return COMPUTE.positions[field][0].highest


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
