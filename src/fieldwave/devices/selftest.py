"""A small network that tells whether ONNX Runtime computes the normative bits on this processor.

It holds every weighted operator in the forms that take different kernels, with values that saturate int16 pair
sums and sums that fall on ties. ``selftest.onnx`` is this graph, so that the check needs no ``onnx`` package;
``python -m fieldwave.devices.selftest`` writes it anew.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.devices.session import open_session
from fieldwave.graph import CONTRIB_DOMAIN, Graph, Node, Value, to_onnx

__all__ = ["FILE", "differing_operators", "selftest_graph", "selftest_inputs", "stored_selftest"]

FILE = "selftest.onnx"
_CHANNELS, _SIZE = 32, 8
_INPUT = "image"


def differing_operators(model: bytes) -> tuple[str, ...]:
    """The operators of which this processor computes at least one other bit than ``golden``, sorted.

    Each operator is judged by itself, on what ONNX Runtime handed to it.

    Args:
        model: the self-test as ONNX, as stored or rewritten; its outputs are the results of the operators.
    """
    graph, tensors = selftest_graph(), selftest_inputs()
    names = [value.name for value in graph.outputs]
    tensors |= zip(names, open_session(model).run(names, tensors), strict=True)
    differing = set()
    for node in graph.nodes:
        inputs = {name: tensors[name] for name in node.inputs if name in tensors}
        expected = golden.run(replace(graph, nodes=(node,)), inputs)[node.output]
        if not np.array_equal(tensors[node.output], expected):
            differing.add(node.op)
    return tuple(sorted(differing))


def stored_selftest() -> bytes:
    """``selftest.onnx``."""
    return resources.files(__package__).joinpath(FILE).read_bytes()


def selftest_inputs() -> dict[str, NDArray[Any]]:
    """One image, [1, 8, 8, 32]: a quarter of it at the upper end, the rest anything, some on ties."""
    pixels = _bytes(_SIZE * _SIZE * _CHANNELS, seed=1).reshape(1, _SIZE, _SIZE, _CHANNELS)
    return {_INPUT: np.where(pixels < 64, 127.5, pixels / 2 - 0.25).astype(np.float32)}


def selftest_graph() -> Graph:
    """The self-test: a little network, so that ONNX Runtime changes its layout as in a real one."""
    builder = _Builder()
    x = builder.quantize(_INPUT)
    reduced = builder.conv(x, "reduced", (48, _CHANNELS, 1, 1))
    spread = builder.conv(reduced, "spread", (_CHANNELS, 48, 3, 3), pads=[1, 1, 1, 1])
    deep = builder.conv(spread, "deep", (_CHANNELS, 1, 3, 3), pads=[1, 1, 1, 1], group=_CHANNELS)
    grouped = builder.conv(deep, "grouped", (_CHANNELS, 8, 3, 3), pads=[1, 1, 1, 1], group=4)
    # A shortcut at another scale: the sums fall on halves and quarters.
    total = builder.add(x, grouped, "total")
    # Averages of 16 and of 4 bytes: many fall on ties.
    for maps in (reduced, spread, deep, total):
        quadrants = builder.average(maps, f"{maps}_quadrants", kernel_shape=[4, 4], strides=[4, 4])
        builder.average(quadrants, f"{maps}_centre")
    mean = builder.average(total, "mean")
    pointwise = builder.conv(mean, "pointwise", (33, _CHANNELS, 1, 1))
    features = builder.flatten(pointwise)
    builder.gemm(features, "classes", (33, 21))
    builder.matmul(features, "projection", (33, 21))
    return builder.graph()


class _Builder:
    """Collects the nodes; every result of an operator is an output of the graph."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.outputs: list[Value] = []
        self.constants: dict[str, NDArray[Any]] = {
            "half": np.asarray(0.5, np.float32),
            "quarter": np.asarray(0.25, np.float32),
            "zero_point": np.asarray(128, np.uint8),
            "zero": np.asarray(0, np.uint8),
        }
        self.weights = 0

    def graph(self) -> Graph:
        image = Value(_INPUT, "float32", (1, _SIZE, _SIZE, _CHANNELS))
        return Graph("selftest", (image,), tuple(self.outputs), tuple(self.nodes), self.constants)

    def write(
        self, op: str, name: str, inputs: tuple[str, ...], rank: int = 4, domain: str = "", **attributes: Any
    ) -> str:
        self.nodes.append(Node(op, name, inputs, (name,), attributes, domain))
        self.outputs.append(Value(name, "uint8", (None,) * rank))
        return name

    def quantize(self, image: str) -> str:
        pixels = self.write("QuantizeLinear", "pixels", (image, "half", "zero"))
        return self.write("Transpose", "maps", (pixels,), perm=[0, 3, 1, 2])

    def conv(self, x: str, name: str, shape: tuple[int, ...], **attributes: Any) -> str:
        weights = self.constant_weights(name, shape, channel=0)
        inputs = (x, "half", "zero_point", *weights, "half", "zero_point", self.bias(name, shape[0]))
        return self.write("QLinearConv", name, inputs, kernel_shape=list(shape[2:]), **attributes)

    def add(self, a: str, b: str, name: str) -> str:
        inputs = (a, "half", "zero_point", b, "quarter", "zero_point", "half", "zero_point")
        return self.write("QLinearAdd", name, inputs, domain=CONTRIB_DOMAIN)

    def average(self, x: str, name: str, **window: Any) -> str:
        op = "QLinearAveragePool" if window else "QLinearGlobalAveragePool"
        inputs = (x, "half", "zero_point", "half", "zero_point")
        return self.write(op, name, inputs, domain=CONTRIB_DOMAIN, **window)

    def flatten(self, x: str) -> str:
        return self.write("Flatten", "features", (x,), rank=2, axis=1)

    def gemm(self, x: str, name: str, shape: tuple[int, int]) -> None:
        weights = self.constant_weights(name, shape, channel=1)
        inputs = (x, "half", "zero_point", *weights, self.bias(name, shape[1]), "half", "zero_point")
        self.write("QGemm", name, inputs, rank=2, domain=CONTRIB_DOMAIN)

    def matmul(self, x: str, name: str, shape: tuple[int, int]) -> None:
        weights = self.constant_weights(name, shape, channel=1)
        self.write("QLinearMatMul", name, (x, "half", "zero_point", *weights, "half", "zero_point"), rank=2)

    def constant_weights(self, name: str, shape: tuple[int, ...], channel: int) -> tuple[str, str, str]:
        """int8 weights, a third of them at an end, and scales that use the range of the result."""
        self.weights += 1
        noise = _bytes(int(np.prod(shape)), seed=10 * self.weights).astype(np.int16)
        steps = np.where(noise < 48, 127, np.where(noise < 96, -127, noise - 176)).astype(np.int8).reshape(shape)
        taps = steps.size // shape[channel]
        spread = 1 + _bytes(shape[channel], seed=10 * self.weights + 1) / 512
        self.constants |= {
            f"{name}_weights": steps,
            f"{name}_scales": (spread / (128 * np.sqrt(taps))).astype(np.float32),
            f"{name}_zero_points": np.zeros(shape[channel], np.int8),
        }
        return f"{name}_weights", f"{name}_scales", f"{name}_zero_points"

    def bias(self, name: str, channels: int) -> str:
        noise = _bytes(channels, seed=10 * self.weights + 2).astype(np.int32)
        self.constants[f"{name}_bias"] = (noise - 128) * 37
        return f"{name}_bias"


def _bytes(count: int, seed: int) -> NDArray[np.uint8]:
    """Bytes without order, the same in every version of numpy: the upper bits of a multiplicative hash."""
    mixed = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed * 65_537)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(56)).astype(np.uint8)


if __name__ == "__main__":
    from pathlib import Path

    Path(__file__).with_name(FILE).write_bytes(to_onnx(selftest_graph()).SerializeToString(deterministic=True))
