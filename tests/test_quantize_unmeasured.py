"""The int8 form without calibration: the same operators as with it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fieldwave import zoo
from fieldwave.compiler import compile_network
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node, Value
from fieldwave.npu import configuration
from fieldwave.quantize import quantize, unmeasured


def test_it_takes_as_long_as_the_calibrated_network() -> None:
    graph = zoo.float_model(*zoo.load("digits", "random:0")).graph
    shape = tuple(size or 1 for size in graph.inputs[0].shape)
    images = [np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in range(2)]
    measured, guessed = quantize(graph, images).graph, unmeasured(graph)
    layers = [
        Counter(node.op for node in one.nodes if node.op in ("QLinearConv", "QGemm"))
        for one in (measured, guessed)
    ]
    assert layers[0] == layers[1]
    tiny = configuration("tiny")
    one, other = (estimate_network(compile_network(g, tiny), tiny, Memory(8, 50)) for g in (measured, guessed))
    assert abs(one.cycles - other.cycles) < 0.02 * one.cycles
    assert one.npu_macs == other.npu_macs == one.macs


def test_what_cannot_be_quantized() -> None:
    x, y = Value("x", "float32", (1, 4)), Value("y", "float32", (1, 4))
    with pytest.raises(ModelError, match=r"^the network has 2 inputs; one image input is supported$"):
        unmeasured(Graph("two", (x, Value("z", "float32", (1, 4))), (y,), (), {}))
    node = Node("Softmax", "s", ("x",), ("y",), {})
    with pytest.raises(ModelError, match=r"^network 'soft' holds no layer that can be quantized$"):
        unmeasured(Graph("soft", (x,), (y,), (node,), {}))
