"""Quantized networks with random constants, layer by layer, whose values neither vanish nor saturate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden import Window
from fieldwave.graph import CONTRIB_DOMAIN, Graph, Node, Value


@dataclass(frozen=True)
class Tensor:
    """A quantized activation: name, shape, scale 2^exponent, zero point."""

    name: str
    shape: tuple[int, ...]
    exponent: int
    zero: int


class Builder:
    """Adds nodes; every method returns the tensor that its node makes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs: list[Tensor] = []
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def graph(self, *outputs: Tensor) -> Graph:
        values = tuple(Value(t.name, "uint8", t.shape) for t in self.inputs)
        results = tuple(Value(t.name, "uint8", t.shape) for t in outputs)
        return Graph("random", values, results, tuple(self.nodes), self.constants)

    def feeds(self) -> dict[str, NDArray[np.uint8]]:
        return {t.name: self.rng.integers(0, 256, t.shape).astype(np.uint8) for t in self.inputs}

    def input(self, *shape: int) -> Tensor:
        tensor = Tensor(f"x{len(self.inputs)}", (1, *shape), int(self.rng.integers(-6, 1)), self.zero())
        self.inputs.append(tensor)
        return tensor

    def zero(self) -> int:
        return int(self.rng.choice([0, 128]))

    def conv(self, x: Tensor, maps: int, window: Window, group: int = 1) -> Tensor:
        weights = self.weights(maps, x.shape[1] // group, *window.kernel)
        y = self.made(x, self.pooled(x, window, maps))
        inputs = (*self.named(x), *self.weighted(weights, x, y, 0), *self.named(y)[1:], self.bias(weights, x, 0))
        self.add_node("QLinearConv", inputs, y, group=group, **attributes(window))
        return y

    def scale_shift(self, x: Tensor) -> Tensor:
        """A depthwise convolution with one tap whose scales make a power of two of every channel."""
        count = x.shape[1]
        weights = (self.rng.choice([-1, 1], count) * self.rng.integers(64, 128, count)).astype(np.int8)
        y = self.made(x, x.shape)
        shifts = self.rng.integers(5, 9, count)
        scales = (2.0 ** (y.exponent - x.exponent - shifts)).astype(np.float32)
        inside = self.rng.integers(0, 256, count)  # an input at which each channel is near the middle
        bias = ((128 - y.zero) * 2**shifts - (inside - x.zero) * weights.astype(np.int64)).astype(np.int32)
        weighted = (
            self.constant(weights.reshape(count, 1, 1, 1)),
            self.constant(scales),
            self.constant(np.zeros(count, np.int8)),
        )
        inputs = (*self.named(x), *weighted, *self.named(y)[1:], self.constant(bias))
        self.add_node("QLinearConv", inputs, y, group=count, **attributes(Window((1, 1))))
        return y

    def gemm(self, x: Tensor, maps: int, *, transposed: bool) -> Tensor:
        depth = x.shape[1]
        weights = self.weights(*((maps, depth) if transposed else (depth, maps)))
        axis = 0 if transposed else 1
        y = self.made(x, (1, maps))
        inputs = (
            *self.named(x),
            *self.weighted(weights, x, y, axis),
            self.bias(weights, x, axis),
            *self.named(y)[1:],
        )
        self.add_node("QGemm", inputs, y, CONTRIB_DOMAIN, transB=int(transposed))
        return y

    def matmul(self, x: Tensor, maps: int) -> Tensor:
        weights = self.weights(x.shape[1], maps)
        y = self.made(x, (1, maps))
        self.add_node("QLinearMatMul", (*self.named(x), *self.weighted(weights, x, y, 1), *self.named(y)[1:]), y)
        return y

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        y = self.made(a, a.shape)
        self.add_node("QLinearAdd", (*self.named(a), *self.named(b), *self.named(y)[1:]), y, CONTRIB_DOMAIN)
        return y

    def max_pool(self, x: Tensor, window: Window) -> Tensor:
        y = Tensor(f"t{len(self.nodes)}", self.pooled(x, window), x.exponent, x.zero)
        self.add_node("MaxPool", (x.name,), y, ceil_mode=int(window.ceil_mode), **attributes(window))
        return y

    def average_pool(self, x: Tensor, window: Window, *, include: bool) -> Tensor:
        y = Tensor(
            f"t{len(self.nodes)}", self.pooled(x, window), x.exponent - int(self.rng.integers(-1, 3)), self.zero()
        )
        flags = {"ceil_mode": int(window.ceil_mode), "count_include_pad": int(include)}
        kept = {name: value for name, value in attributes(window).items() if name != "dilations"}
        self.add_node(
            "QLinearAveragePool", (*self.named(x), *self.named(y)[1:]), y, CONTRIB_DOMAIN, **kept, **flags
        )
        return y

    def global_pool(self, x: Tensor) -> Tensor:
        y = Tensor(f"t{len(self.nodes)}", (*x.shape[:2], 1, 1), x.exponent - 2, self.zero())
        self.add_node(
            "QLinearGlobalAveragePool", (*self.named(x), *self.named(y)[1:]), y, CONTRIB_DOMAIN, channels_last=0
        )
        return y

    def clip(self, x: Tensor) -> Tensor:
        low, high = sorted(int(v) for v in self.rng.integers(0, 256, 2))
        y = Tensor(f"t{len(self.nodes)}", x.shape, x.exponent, x.zero)
        self.add_node("Clip", (x.name, *(self.constant(np.asarray(v, np.uint8)) for v in (low, high))), y)
        return y

    def lookup(self, x: Tensor) -> Tensor:
        index, y = (Tensor(f"t{len(self.nodes)}{mark}", x.shape, x.exponent, x.zero) for mark in ("i", ""))
        self.add_node("Cast", (x.name,), index, to=6)
        self.add_node(
            "Gather", (self.constant(self.rng.integers(0, 256, 256).astype(np.uint8)), index.name), y, axis=0
        )
        return y

    def concat(self, *parts: Tensor) -> Tensor:
        channels = sum(part.shape[1] for part in parts)
        y = Tensor(f"t{len(self.nodes)}", (1, channels, *parts[0].shape[2:]), parts[0].exponent, parts[0].zero)
        self.add_node("Concat", tuple(part.name for part in parts), y, axis=1)
        return y

    def flatten(self, x: Tensor) -> Tensor:
        y = Tensor(f"t{len(self.nodes)}", (1, int(np.prod(x.shape[1:]))), x.exponent, x.zero)
        self.add_node("Flatten", (x.name,), y, axis=1)
        return y

    def add_node(self, op: str, inputs: tuple[str, ...], y: Tensor, domain: str = "", **values: Any) -> None:
        self.nodes.append(Node(op, f"{op.lower()}_{len(self.nodes)}", inputs, (y.name,), values, domain))

    def made(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return Tensor(f"t{len(self.nodes)}", shape, x.exponent + int(self.rng.integers(-2, 3)), self.zero())

    def pooled(self, x: Tensor, window: Window, maps: int | None = None) -> tuple[int, ...]:
        sizes = (window.count(axis, x.shape[2 + axis]) for axis in range(2))
        return (1, x.shape[1] if maps is None else maps, *sizes)

    def named(self, x: Tensor) -> tuple[str, str, str]:
        scale, zero = np.asarray(2.0**x.exponent, np.float32), np.asarray(x.zero, np.uint8)
        return x.name, self.constant(scale), self.constant(zero)

    def weights(self, *shape: int) -> NDArray[np.int8]:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def weighted(self, weights: NDArray[np.int8], x: Tensor, y: Tensor, axis: int) -> tuple[str, str, str]:
        """Names of the weights, of scales that spread the result over the byte, and of the zero points."""
        maps = weights.shape[axis]
        spread = 74 * 74 * np.sqrt(weights.size / maps)
        factor = 2.0 ** self.rng.uniform(4.5, 6.5, maps) / spread
        scales = (factor * 2.0 ** (y.exponent - x.exponent)).astype(np.float32)
        return self.constant(weights), self.constant(scales), self.constant(np.zeros(maps, np.int8))

    def bias(self, weights: NDArray[np.int8], x: Tensor, axis: int) -> str:
        """Constants that move the mean of each channel's sums to about zero."""
        others = tuple(i for i in range(weights.ndim) if i != axis)
        mean = (127.5 - x.zero) * weights.astype(np.int64).sum(others)
        noise = self.rng.normal(0, 3000, weights.shape[axis])
        return self.constant((noise - mean).astype(np.int32))

    def constant(self, value: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name


def attributes(window: Window) -> dict[str, list[int]]:
    return {
        "kernel_shape": list(window.kernel), "strides": list(window.strides),
        "pads": list(window.pads), "dilations": list(window.dilations),
    }  # fmt: skip
