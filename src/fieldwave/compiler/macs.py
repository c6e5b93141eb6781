"""The multiply-accumulates of an ONNX graph, node by node, wherever they run."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from fieldwave.compiler.shapes import TensorType
from fieldwave.graph import Graph, Node

__all__ = ["macs_by_node"]

WEIGHTS = {"Conv": 1, "ConvInteger": 1, "FusedConv": 1, "QLinearConv": 3}
"""Convolutions, and which input their weights are."""
PRODUCTS = {"Gemm", "MatMul", "MatMulInteger", "QGemm", "QLinearMatMul"}
"""Products of matrices; the first input is one of them."""


def macs_by_node(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, int]:
    """For each node that multiplies and accumulates, how often it does for one image.

    A convolution takes its weights, [M, C / group, kernel...], for every output pixel, padding included;
    a product of matrices its common dimension for every element of the result. Pools, additions and scales count
    nothing, as everywhere in the field.
    """
    shapes = {name: constant.shape for name, constant in graph.constants.items()}
    shapes.update((name, kind.shape) for name, kind in types.items())
    return {node.name: count for node in graph.nodes if (count := _macs(node, shapes))}


def _macs(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op in WEIGHTS:
        return prod(shapes[node.inputs[WEIGHTS[node.op]]]) * prod(shapes[node.output][2:])
    if node.op == "ConvTranspose":
        return prod(shapes[node.inputs[1]]) * prod(shapes[node.inputs[0]][2:])
    if node.op in PRODUCTS:
        common = 0 if node.attributes.get("transA") else -1
        return prod(shapes[node.output]) * shapes[node.inputs[0]][common]
    return 0
