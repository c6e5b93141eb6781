"""The operators of a quantized network in torch: bytes as float32, sums in float64, differentiable.

What each computes is docs/numerics.md, operator by operator. In float64 all sums of products are exact; the
float32 steps of a requantization are float32 here too, so that the bytes are those of every device. In float32,
for training, a sum beyond 2**24 may round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden.requantize import multiplier
from fieldwave.golden.window import Window
from fieldwave.graph import Node
from fieldwave.training.framework import functional, torch
from fieldwave.training.rounding import lookup, rounded, saturated

__all__ = ["OPERATORS"]

Constant = NDArray[Any]
_INT32, _INT64 = 6, 7  # of onnx.TensorProto.DataType


def _conv(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    window = Window.of(node, tuple(v[3].shape[2:]))
    x = _padded(v[0].to(wide) - int(v[2]), window)
    bias = v[8].to(wide) if len(v) > 8 and v[8] is not None else None
    group = int(node.attributes.get("group", 1))
    sums = functional.conv2d(x, v[3].to(wide), bias, window.strides, 0, window.dilations, group)
    return _requantized(sums, multiplier(v[1], v[4], v[6]).reshape(-1, 1, 1), v[7])


def _gemm(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    weights = v[3].to(wide)
    sums = (v[0].to(wide) - int(v[2])) @ (weights.T if node.attributes.get("transB", 0) else weights)
    if v[6] is not None:
        sums = sums + v[6].to(wide)
    return _requantized(sums, multiplier(v[1], v[4], v[7]), v[8])


def _matmul(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    sums = (v[0].to(wide) - int(v[2])) @ v[3].to(wide)
    return _requantized(sums, multiplier(v[1], v[4], v[6]), v[7])


def _requantized(sums: torch.Tensor, factor: NDArray[np.float32], zero_point: Any) -> torch.Tensor:
    """``sat(rne(fl(fl(acc) * m)) + yz)``."""
    return saturated(sums.float() * torch.from_numpy(factor).to(sums.device), int(zero_point))


def _add(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    left = (v[0].to(wide) - int(v[2])) * (float(v[1]) / float(v[6]))
    right = (v[3].to(wide) - int(v[5])) * (float(v[4]) / float(v[6]))
    return torch.clamp(rounded(left + right + int(v[7])), 0, 255).float()


def _global_average(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    x = v[0].to(wide)
    count = x.shape[2] * x.shape[3]
    sums = x.sum((2, 3), keepdim=True) - count * int(v[2])
    factor = np.float32(v[1]) / (np.float32(v[3]) * np.float32(count))
    return _requantized(sums, np.asarray(factor, np.float32), v[4])


def _average(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    window = Window.of(node)
    x = v[0].to(wide) - int(v[2])
    taps: Any = window.kernel[0] * window.kernel[1]
    if not node.attributes.get("count_include_pad", 0):
        taps = _sums(torch.ones((1, 1, *x.shape[2:]), dtype=wide, device=x.device), window)
    means = _sums(x, window) / taps * (float(v[1]) / float(v[3]))
    return torch.clamp(rounded(means + int(v[4])), 0, 255).float()


def _sums(x: torch.Tensor, window: Window) -> torch.Tensor:
    return functional.avg_pool2d(_padded(x, window), window.kernel, window.strides, divisor_override=1)


def _max_pool(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    window = Window.of(node)
    # Padding never wins: it counts as the smallest byte.
    return functional.max_pool2d(_padded(v[0], window), window.kernel, window.strides, dilation=window.dilations)


def _padded(x: torch.Tensor, window: Window) -> torch.Tensor:
    """Zeros around the maps, as many as the last window needs."""
    margins = []
    for axis, size in enumerate(x.shape[2:]):
        reach = (window.count(axis, size) - 1) * window.strides[axis] + window.reach(axis)
        margins.append((window.pads[axis], max(reach - size - window.pads[axis], 0)))
    (top, bottom), (left, right) = margins
    return functional.pad(x, (left, right, top, bottom)) if any((top, bottom, left, right)) else x


def _quantize(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    # The zero point is added before the clip here: sums of whole numbers, exact either way.
    steps = rounded(v[0].float() / float(v[1]))
    return torch.clamp(steps + int(v[2]), 0, 255)


def _dequantize(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    return (v[0].float() - int(v[2])) * float(v[1])


def _gather(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    return lookup(v[0], v[1])


def _cast(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    # Integers are whole numbers in floats here; wide enough to stay exact where they are multiplied.
    return v[0].to(wide) if int(node.attributes["to"]) in (_INT32, _INT64) else v[0].float()


def _reshape(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    return v[0].reshape([v[0].shape[axis] if size == 0 else int(size) for axis, size in enumerate(v[1])])


def _flatten(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    axis = int(node.attributes.get("axis", 1))
    return v[0].reshape(int(np.prod(v[0].shape[:axis])), -1)


def _squeeze(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    return v[0].squeeze(_axes(node, v)) if _axes(node, v) else v[0].squeeze()


def _unsqueeze(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    x = v[0]
    for axis in sorted(_axes(node, v)):
        x = x.unsqueeze(axis)
    return x


def _axes(node: Node, v: list[Any]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in v[1]) if len(v) > 1 else node.ints("axes", ())


def _clip(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
    low, high = (float(v[i]) if len(v) > i and v[i] is not None else None for i in (1, 2))
    return torch.clamp(v[0], low, high)


def _reduced(function: Callable[..., torch.Tensor]) -> Callable[[Node, list[Any], torch.dtype], torch.Tensor]:
    def reduce(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
        axes = _axes(node, v) or tuple(range(v[0].ndim))
        return function(v[0], axes, keepdim=bool(node.attributes.get("keepdims", 1)))

    return reduce


def _elementwise(function: Callable[..., torch.Tensor]) -> Callable[[Node, list[Any], torch.dtype], torch.Tensor]:
    def compute(node: Node, v: list[Any], wide: torch.dtype) -> torch.Tensor:
        like = next(value for value in v if isinstance(value, torch.Tensor))
        parts = [value if isinstance(value, torch.Tensor) else torch.as_tensor(value).to(like) for value in v]
        return function(*parts)

    return compute


OPERATORS: dict[str, Callable[[Node, list[Any], torch.dtype], torch.Tensor]] = {
    "Abs": _elementwise(torch.abs),
    "Add": _elementwise(torch.add),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda node, v, wide: torch.cat(v, int(node.attributes["axis"])),
    "DequantizeLinear": _dequantize,
    "Div": _elementwise(torch.div),
    "Erf": _elementwise(torch.erf),
    "Exp": _elementwise(torch.exp),
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": lambda node, v, wide: v[0],
    "LeakyRelu": lambda node, v, wide: functional.leaky_relu(v[0], float(node.attributes.get("alpha", 0.01))),
    "Log": _elementwise(torch.log),
    "LogSoftmax": lambda node, v, wide: torch.log_softmax(v[0], int(node.attributes.get("axis", -1))),
    "Max": _elementwise(torch.maximum),
    "MaxPool": _max_pool,
    "Mul": _elementwise(torch.mul),
    "Neg": _elementwise(torch.neg),
    "Pow": _elementwise(torch.pow),
    "QGemm": _gemm,
    "QLinearAdd": _add,
    "QLinearAveragePool": _average,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": _global_average,
    "QLinearMatMul": _matmul,
    "QuantizeLinear": _quantize,
    "Reciprocal": _elementwise(torch.reciprocal),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": _elementwise(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _elementwise(torch.sigmoid),
    "Softmax": lambda node, v, wide: torch.softmax(v[0], int(node.attributes.get("axis", -1))),
    "Sqrt": _elementwise(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _elementwise(torch.sub),
    "Tanh": _elementwise(torch.tanh),
    "Transpose": lambda node, v, wide: v[0].permute(node.ints("perm", tuple(range(v[0].ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
}
"""Node, its inputs (tensors; constants as arrays, weights and biases as tensors), the type of exact sums."""
