"""How much a network has to multiply, whatever the hardware makes of it."""

from __future__ import annotations

import math

from fieldwave.compiler.shapes import tensor_types
from fieldwave.graph import Graph

__all__ = ["count_macs"]

_WEIGHTS = {"QLinearConv": 3, "QGemm": 3, "QLinearMatMul": 3}
"""Which input of an operator holds its weights."""


def count_macs(graph: Graph) -> int:
    """Multiply-accumulates of the convolutions and fully connected layers for one image, padding included."""
    types = tensor_types(graph)
    total = 0
    for node in graph.nodes:
        if node.op not in _WEIGHTS:
            continue
        weights = graph.constants[node.inputs[_WEIGHTS[node.op]]]
        outputs = math.prod(types[node.output].shape)
        if node.op == "QLinearConv":
            total += outputs * math.prod(weights.shape[1:])
        else:
            total += outputs * math.prod(types[node.inputs[0]].shape[1:])
    return total
