"""Multiply-accumulates are those of the ONNX graph, counted by hand."""

from __future__ import annotations

import numpy as np

from fieldwave.compiler.macs import macs_by_node
from fieldwave.compiler.shapes import tensor_types
from fieldwave.golden import Window
from fieldwave.graph import Graph, Node, Value
from tests.random_networks import Builder


def test_quantized_convolutions_and_products() -> None:
    b = Builder(1)
    x = b.conv(b.input(6, 9, 9), 8, Window((3, 3), (2, 2), (1, 1, 1, 1)))  # 5 x 5 pixels
    x = b.conv(x, 12, Window((1, 1)), group=4)
    pooled = b.max_pool(x, Window((5, 5)))
    b.gemm(b.flatten(pooled), 7, transposed=True)
    graph = b.graph()
    counted = macs_by_node(graph, tensor_types(graph))
    assert list(counted.values()) == [8 * 6 * 9 * 25, 12 * 2 * 25, 12 * 7]


def test_float_operators() -> None:
    rng = np.random.default_rng(2)
    constants = {
        "w": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "v": rng.standard_normal((4, 5, 2, 2)).astype(np.float32),
        "m": rng.standard_normal((10, 11)).astype(np.float32),
        "n": rng.standard_normal((1, 1, 5, 10)).astype(np.float32),
    }
    nodes = (
        Node("Conv", "conv", ("x", "w"), ("a",)),  # [1, 4, 4, 8]
        Node("ConvTranspose", "transposed", ("a", "v"), ("b",)),  # [1, 5, 5, 9]
        Node("MatMul", "product", ("n", "m"), ("c",)),  # [1, 1, 5, 11]
        Node("Gemm", "gemm", ("m", "m"), ("d",), {"transA": 1}),  # [11, 11]
        Node("Relu", "relu", ("c",), ("e",)),
    )
    graph = Graph("g", (Value("x", "float32", (1, 3, 5, 9)),), (), nodes, constants)
    assert macs_by_node(graph, tensor_types(graph)) == {
        "conv": 4 * 3 * 4 * 4 * 8,
        "transposed": 4 * 5 * 4 * 4 * 8,
        "product": 5 * 11 * 10,
        "gemm": 11 * 11 * 10,
    }
