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
_FLOAT_ON_HOST = {"Softmax", "Sqrt", "Div", "Max", "Mul", "Exp", "Sigmoid"}
"""Float sections have one implementation that all devices share (ONNX Runtime's); golden takes their results."""


def run(model: Graph | ModelProto | bytes, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute every quantized tensor of the network.

    Args:
        model: QOperator form, as `fieldwave.quantize` writes it.
        inputs: the network's inputs; where float sections lie inside the network, their results as well.

    Returns:
        Every tensor by name, the inputs too. Float operators (Softmax and the like) and what hangs on them alone
        are left out: the promise of bit-exactness covers quantized tensors.

    Raises:
        ModelError: a node that has no normative operator.
    """
    graph = model if isinstance(model, Graph) else from_onnx(model)
    tensors: dict[str, Tensor] = dict(inputs)
    for node in graph.nodes:
        if all(name in tensors for name in node.outputs):
            continue
        names = [name for name in node.inputs if name]
        if node.op in _FLOAT_ON_HOST or not all(name in tensors or name in graph.constants for name in names):
            continue
        if node.op not in _OPERATORS:
            raise ModelError(
                f"node {node.name!r}: {node.op} has no normative operator; quantize the network first"
            )
        values = [None if not name else _tensor(name, tensors, graph) for name in node.inputs]
        tensors[node.output] = _OPERATORS[node.op](node, values)
    return tensors


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
    kinds = {6: np.int32, 7: np.int64}  # of onnx.TensorProto.DataType
    if int(node.attributes["to"]) not in kinds:
        raise ModelError(f"node {node.name!r}: Cast is normative as the index of a look-up only, int32 or int64")
    return np.asarray(v[0].astype(kinds[int(node.attributes["to"])]))


_OPERATORS: dict[str, Callable[[Node, list[Any]], Tensor]] = {
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
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": lambda node, v: np.transpose(v[0], node.ints("perm", ())),
}
