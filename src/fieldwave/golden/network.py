"""Run a whole quantized network (QOperator ONNX) on the normative operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.golden import convolution, elementwise, pooling
from fieldwave.golden.window import Window
from fieldwave.graph import Graph, Node, from_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["run"]

Tensor = NDArray[Any]


def run(model: Graph | ModelProto | bytes, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute every quantized tensor of the network.

    Args:
        model: QOperator form, as `fieldwave.quantize` writes it.
        inputs: the network's inputs; where float sections lie inside the network, their results as well.

    Returns:
        Every tensor by name, the inputs too. Float operators that IEEE-754 does not define to the bit (Softmax
        and the like) and what hangs on them alone are left out: the promise covers quantized tensors.

    Raises:
        ModelError: a node that has no normative operator.
    """
    graph = model if isinstance(model, Graph) else from_onnx(model)
    tensors: dict[str, Tensor] = dict(inputs)
    for node in graph.nodes:
        if all(name in tensors for name in node.outputs):
            continue
        names = [name for name in node.inputs if name]
        if not all(name in tensors or name in graph.constants for name in names):
            continue
        values = [None if not name else _tensor(name, tensors, graph) for name in node.inputs]
        kinds = {value.dtype.name for value in values if value is not None}
        if node.op not in _OPERATORS and "uint8" in kinds:
            raise ModelError(
                f"node {node.name!r}: {node.op} has no normative operator; quantize the network first"
            )
        if node.op not in _OPERATORS or not kinds & _KINDS.get(node.op, kinds):
            continue
        _as_written(node)
        tensors[node.output] = _OPERATORS[node.op](node, values)
    return tensors


def _as_written(node: Node) -> None:
    """Refuse attributes under which the operators mean something else than here."""
    padding = str(node.attributes.get("auto_pad", "NOTSET"))
    if padding != "NOTSET":
        raise ModelError(f"node {node.name!r}: auto_pad is {padding}; write the pads out")
    if int(node.attributes.get("channels_last", 0)):
        raise ModelError(f"node {node.name!r}: channels_last is 1; the maps must be [N, C, H, W]")


def _tensor(name: str, tensors: Mapping[str, Tensor], graph: Graph) -> Tensor:
    return np.asarray(tensors[name] if name in tensors else graph.constants[name])


def _conv(node: Node, v: list[Any]) -> Tensor:
    _symmetric(node, v[5])
    return convolution.qlinear_conv(
        *(v[0], v[1], int(v[2]), v[3], v[4], v[6], int(v[7]), v[8] if len(v) > 8 else None),
        window=Window.of(node, v[3].shape[2:]),
        group=int(node.attributes.get("group", 1)),
    )


def _gemm(node: Node, v: list[Any]) -> Tensor:
    _symmetric(node, v[5])
    attributes = node.attributes
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("transA", 0) or len(v) < 9:
        raise ModelError(f"node {node.name!r}: QGemm is defined here for alpha 1, transA 0 and a uint8 result")
    transposed = bool(attributes.get("transB", 0))
    return convolution.qgemm(v[0], v[1], int(v[2]), v[3], v[4], v[6], v[7], int(v[8]), transpose_b=transposed)


def _matmul(node: Node, v: list[Any]) -> Tensor:
    _symmetric(node, v[5])
    return convolution.qlinear_matmul(v[0], v[1], int(v[2]), v[3], v[4], v[6], int(v[7]))


def _symmetric(node: Node, zero_point: Any) -> None:
    if zero_point is not None and np.any(zero_point):
        raise ModelError(f"node {node.name!r}: weights have zero point {zero_point}; they must be symmetric")


def _average_pool(node: Node, v: list[Any]) -> Tensor:
    include = bool(node.attributes.get("count_include_pad", 0))
    return pooling.qlinear_average_pool(
        v[0], v[1], int(v[2]), v[3], int(v[4]), Window.of(node), count_include_pad=include
    )


def _flatten(node: Node, v: list[Any]) -> Tensor:
    axis = int(node.attributes.get("axis", 1))
    return np.reshape(v[0], (int(np.prod(v[0].shape[:axis])), -1))


def _reshape(node: Node, v: list[Any]) -> Tensor:
    shape = [v[0].shape[axis] if size == 0 else int(size) for axis, size in enumerate(v[1])]
    return np.reshape(v[0], shape)


def _squeeze(node: Node, v: list[Any]) -> Tensor:
    return np.asarray(np.squeeze(v[0], tuple(int(axis) for axis in v[1]) if len(v) > 1 else None))


def _gather(node: Node, v: list[Any]) -> Tensor:
    if v[0].dtype != np.uint8 or v[0].shape != (256,):
        raise ModelError(f"node {node.name!r}: Gather is normative as a look-up in a table of 256 bytes only")
    return elementwise.lookup(v[0], v[1])


def _cast(node: Node, v: list[Any]) -> Tensor:
    kinds = {1: np.float32, 6: np.int32, 7: np.int64}  # of onnx.TensorProto.DataType
    if int(node.attributes["to"]) not in kinds:
        raise ModelError(f"node {node.name!r}: Cast is normative to float32, int32 and int64 only")
    return np.asarray(v[0].astype(kinds[int(node.attributes["to"])]))


def _reduce_sum(node: Node, v: list[Any]) -> Tensor:
    """Of integers: a float sum has as many values as there are orders of addition."""
    axes = tuple(int(axis) for axis in v[1]) if len(v) > 1 else None
    return np.asarray(v[0].sum(axes, dtype=np.int32, keepdims=bool(node.attributes.get("keepdims", 1))))


def _rounded_once(node: Node, v: list[Any]) -> Tensor:
    with np.errstate(all="ignore"):
        return np.asarray(_ARITHMETIC[node.op](*v))


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
}
"""Operators that IEEE-754 defines to the bit, of which the L2 normalisation is made."""

_OPERATORS: dict[str, Callable[[Node, list[Any]], Tensor]] = {
    **dict.fromkeys(_ARITHMETIC, _rounded_once),
    "Cast": _cast,
    "Clip": lambda node, v: np.clip(v[0], v[1], v[2]),
    "Concat": lambda node, v: np.concatenate(v, int(node.attributes["axis"])),
    "DequantizeLinear": lambda node, v: elementwise.dequantize_linear(v[0], v[1], int(v[2])),
    "Flatten": _flatten,
    "Gather": _gather,
    "MaxPool": lambda node, v: pooling.max_pool(v[0], Window.of(node)),
    "QGemm": _gemm,
    "QLinearAdd": lambda node, v: elementwise.qlinear_add(
        v[0], v[1], int(v[2]), v[3], v[4], int(v[5]), v[6], int(v[7])
    ),
    "QLinearAveragePool": _average_pool,
    "QLinearConv": _conv,
    "QLinearGlobalAveragePool": lambda node, v: pooling.qlinear_global_average_pool(
        v[0], v[1], int(v[2]), v[3], int(v[4])
    ),
    "QLinearMatMul": _matmul,
    "QuantizeLinear": lambda node, v: elementwise.quantize_linear(v[0], v[1], int(v[2])),
    "ReduceSum": _reduce_sum,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": lambda node, v: np.transpose(v[0], node.ints("perm", ())),
    "Unsqueeze": lambda node, v: np.expand_dims(v[0], tuple(int(axis) for axis in v[1])),
}

_KINDS: dict[str, set[str]] = {
    **{op: {"int32", "float32"} for op in _ARITHMETIC},
    **{op: {"uint8"} for op in ("Clip", "Gather", "MaxPool")},
    "ReduceSum": {"int32"},
}
"""Operators that are normative for some element types only; of others they are host sections."""
