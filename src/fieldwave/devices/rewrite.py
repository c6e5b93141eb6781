"""Equal networks for processors on which ONNX Runtime's quantized kernels are not exact.

Each function takes a graph and returns one that computes the same tensors, under the same names, with other
operators. What they rest on: docs/numerics.md, rules 1 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node

__all__ = ["float_additions", "float_averages", "uint8_weights"]

_WEIGHTED = {"QLinearConv", "QGemm", "QLinearMatMul"}
_WEIGHTS, _WEIGHTS_ZERO = 3, 5


def uint8_weights(graph: Graph) -> Graph:
    """int8 weights with zero point 0 become uint8 with zero point 128, the same real numbers.

    On x86 without VNNI, the uint8 x int8 kernels add pairs of products in int16, which saturates; the
    uint8 x uint8 kernels widen first and are exact.
    """
    constants = dict(graph.constants)

    def shifted(name: str) -> str:
        constants[f"{name}~uint8"] = graph.constants[name].view(np.uint8) ^ np.uint8(128)
        return f"{name}~uint8"

    def rewritten(node: Node) -> Node:
        if node.op not in _WEIGHTED or not _is_int8(graph, node.inputs[_WEIGHTS]):
            return node
        inputs = list(node.inputs)
        for index in (_WEIGHTS, _WEIGHTS_ZERO):
            inputs[index] = shifted(inputs[index])
        return Node(node.op, node.name, tuple(inputs), node.outputs, node.attributes, node.domain)

    return graph.with_nodes([rewritten(node) for node in graph.nodes], constants)


def float_additions(graph: Graph) -> Graph:
    """QLinearAdd becomes DequantizeLinear, Add, QuantizeLinear.

    With power-of-two scales the float32 sum is exact, and with an even zero point rounding before or after it is
    added is the same: one rounding, half to even, where ONNX Runtime's Arm kernel rounds half away from zero.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op != "QLinearAdd":
            nodes.append(node)
            continue
        a, b, y = node.inputs[0:3], node.inputs[3:6], node.inputs[6:8]
        left, right, total = (f"{node.output}~{part}" for part in ("left", "right", "sum"))
        nodes += (
            Node("DequantizeLinear", left, a, (left,)),
            Node("DequantizeLinear", right, b, (right,)),
            Node("Add", total, (left, right), (total,)),
            Node("QuantizeLinear", node.name, (total, *y), node.outputs),
        )
    return graph.with_nodes(nodes, graph.constants)


def float_averages(graph: Graph) -> Graph:
    """QLinearGlobalAveragePool becomes its definition: a float32 sum, one product, one rounding.

    ``y = sat(rne(fl(sum(x - xz)) * fl(xs / fl(ys*n))) + yz)``; the sum of up to 65,793 bytes is exact in float32,
    in any order.
    """
    nodes: list[Node] = []
    constants: dict[str, NDArray[Any]] = dict(graph.constants)
    for node in graph.nodes:
        if node.op != "QLinearGlobalAveragePool":
            nodes.append(node)
            continue
        x, x_scale, x_zero, y_scale, y_zero = node.inputs
        first = 1 if node.attributes.get("channels_last", 0) else 2
        name = node.output
        constants["one~float32"] = np.asarray(1, np.float32)
        constants[f"{name}~axes"] = np.asarray([first, first + 1], np.int64)
        # Both negative, which cancels: a product with 1 / n, ONNX Runtime would fuse into one division by n.
        constants[f"{name}~x_scale"] = -graph.constants[x_scale]
        constants[f"{name}~y_scale"] = -graph.constants[y_scale]
        steps, total, sizes, height_width, count, divisor, factor, average = (
            f"{name}~{part}"
            for part in ("steps", "total", "sizes", "height_width", "count", "divisor", "factor", "average")
        )
        nodes += (
            Node("DequantizeLinear", steps, (x, "one~float32", x_zero), (steps,)),
            Node("ReduceSum", total, (steps, f"{name}~axes"), (total,), {"keepdims": 1}),
            Node("Shape", sizes, (x,), (sizes,), {"start": first, "end": first + 2}),
            Node("ReduceProd", height_width, (sizes,), (height_width,), {"keepdims": 0}),
            Node("Cast", count, (height_width,), (count,), {"to": 1}),
            Node("Mul", divisor, (f"{name}~y_scale", count), (divisor,)),
            Node("Div", factor, (f"{name}~x_scale", divisor), (factor,)),
            Node("Mul", average, (total, factor), (average,)),
            Node("QuantizeLinear", node.name, (average, "one~float32", y_zero), node.outputs),
        )
    return graph.with_nodes(nodes, constants)


def _is_int8(graph: Graph, name: str) -> bool:
    return name in graph.constants and graph.constants[name].dtype == np.int8
