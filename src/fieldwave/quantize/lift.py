"""From a quantized network back to the float network behind it, with the scales that it carries as marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node

__all__ = ["Integers", "Lifted", "Mark", "is_quantized", "lift"]

_DYNAMIC = {
    "ConvInteger",
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
}
_UNARY = {
    "QLinearAveragePool": "AveragePool",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
}
"""x, its scale and zero point, then those of the result."""
_BINARY = {"QLinearAdd": "Add", "QLinearMatMul": "MatMul", "QLinearMul": "Mul"}
"""a and b, each with scale and zero point, then those of the result."""
_SIGNED = {"Add", "BatchNormalization", "Conv", "Gemm", "MatMul", "Mul"}
"""Operators whose results may be negative."""
_LINEAR = {"QLinearConv", "QGemm", "QLinearConcat", *_UNARY, *_BINARY}


@dataclass(frozen=True)
class Mark:
    """What a tensor was quantized with; the zero point as if the bytes were uint8."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Integers:
    """A constant that is stored in integers: int8 weights by their symmetric zero point, or an int32 bias."""

    values: NDArray[Any]
    scale: NDArray[np.float32]
    zero_point: NDArray[Any]

    def symmetric(self, axis: int) -> bool:
        """Whether they are int8 weights with zero point 0 and one scale, or one for each channel of an axis."""
        fits = self.scale.size in (1, self.values.shape[axis])
        return bool(fits and not self.zero_point.any() and np.abs(self.values).max(initial=0) <= 127)


@dataclass(frozen=True)
class Lifted:
    """A float network and what its tensors were quantized with.

    Attributes:
        graph: the float network; constants are what the integers stand for.
        marks: of its tensors, by name.
        integers: of its constants, by name.
        notes: what could not be taken over.
    """

    graph: Graph
    marks: Mapping[str, Mark]
    integers: Mapping[str, Integers]
    notes: tuple[str, ...]


def is_quantized(graph: Graph) -> bool:
    """Whether the network carries scales: quantized operators, or QuantizeLinear and DequantizeLinear."""
    return any(node.op in _LINEAR | _DYNAMIC | {"QuantizeLinear", "DequantizeLinear"} for node in graph.nodes)


def lift(graph: Graph) -> Lifted:
    """Take the quantization out of a network.

    Raises:
        ModelError: an operator that quantizes by what it sees, without a scale; the message names the node.
    """
    return _Lift(graph).lifted()


class _Lift:
    def __init__(self, graph: Graph) -> None:
        self.source = graph
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = dict(graph.constants)
        self.integers: dict[str, Integers] = {}
        self.marks: dict[str, Mark] = {}
        self.real: dict[str, str] = {}
        self.clamps: dict[str, str] = {}
        self.notes: list[str] = []

    def lifted(self) -> Lifted:
        for node in self.source.nodes:
            if node.op in _DYNAMIC:
                raise ModelError(
                    f"node {node.name!r}: {node.op} quantizes without fixed scales; quantize statically, "
                    "or give the float network"
                )
            if int(node.attributes.get("channels_last", 0)):
                raise ModelError(f"node {node.name!r}: channels_last is 1; the maps must be [N, C, H, W]")
            if node.op == "QuantizeLinear":
                self.quantize(node)
            elif node.op == "DequantizeLinear":
                self.dequantize(node)
            elif node.op in _LINEAR:
                self.linear(node)
            else:
                inputs = tuple(self.real.get(name, name) for name in node.inputs)
                self.nodes.append(replace(node, inputs=inputs))
        nodes = self.outputs()
        values = tuple(replace(value, dtype="float32") for value in self.source.outputs)
        graph = replace(self.source, outputs=values).with_nodes(nodes, self.constants)
        return Lifted(graph, self.marks, self.integers, tuple(self.notes))

    def outputs(self) -> list[Node]:
        """The nodes, so that outputs of the network keep their names."""
        names: dict[str, str] = {}
        fixed = {value.name for value in self.source.inputs}
        for value in self.source.outputs:
            real = self.real.get(value.name, value.name)
            if real == value.name:
                continue
            if real in fixed or real in names or real in {other.name for other in self.source.outputs}:
                self.nodes.append(Node("Identity", f"{value.name}/identity", (real,), (value.name,)))
            else:
                names[real] = value.name
        self.marks = {names.get(name, name): mark for name, mark in self.marks.items()}
        return [
            replace(
                node,
                inputs=tuple(names.get(name, name) for name in node.inputs),
                outputs=tuple(names.get(name, name) for name in node.outputs),
            )
            for node in self.nodes
        ]

    def quantize(self, node: Node) -> None:
        scale, zero = self.parameters(node, 1)
        name = self.real.get(node.inputs[0], node.inputs[0])
        if name in self.constants:  # weights that were trained with fake quantization
            axis = int(node.attributes.get("axis", 1))
            real = self.constants[name].astype(np.float64)
            spread = _along(scale, axis, real.ndim)
            point = _along(zero, axis, real.ndim).astype(np.float64)
            low, high = np.iinfo(zero.dtype).min, np.iinfo(zero.dtype).max
            steps = np.clip(np.rint(real / spread.astype(np.float64)) + point, low, high)
            self.constants[node.output] = steps.astype(zero.dtype)
            return
        self.real[node.output] = self.clamped(name, self.mark(name, scale, zero, node))

    def dequantize(self, node: Node) -> None:
        name = node.inputs[0]
        if name not in self.constants or self.constants[name].dtype.kind not in "iu":
            self.real[node.output] = self.real.get(name, name)
            return
        scale, zero = self.parameters(node, 1)
        self.constant(node.output, self.constants[name], scale, zero, int(node.attributes.get("axis", 1)))

    def linear(self, node: Node) -> None:
        """A quantized operator: the float operator between marked tensors."""
        if node.op == "QLinearConcat":
            result, parts = 0, range(2, len(node.inputs), 3)
            op, inputs = "Concat", [self.operand(node, index, 0) for index in parts]
        elif node.op in _UNARY:
            op, inputs, result = _UNARY[node.op], [self.operand(node, 0, 0)], 3
        elif node.op in _BINARY:
            # A matrix has a scale for each column.
            op, inputs, result = _BINARY[node.op], [self.operand(node, index, 1) for index in (0, 3)], 6
        elif node.op == "QGemm":
            axis = 0 if node.attributes.get("transB", 0) else 1
            op, inputs, result = "Gemm", [self.operand(node, 0, 0), self.operand(node, 3, axis)], 7
            inputs += self.bias(node, 6)
        else:
            op, inputs, result = "Conv", [self.operand(node, 0, 0), self.operand(node, 3, 0)], 6
            inputs += self.bias(node, 8)
        own = {"channels_last", "opset"}
        attributes = {name: value for name, value in node.attributes.items() if name not in own}
        self.nodes.append(Node(op, node.name, tuple(inputs), node.outputs, attributes))
        if result < len(node.inputs) and node.inputs[result]:
            found = self.mark(node.output, *self.parameters(node, result), node)
            self.real[node.output] = self.clamped(node.output, found)

    def operand(self, node: Node, index: int, axis: int) -> str:
        name = node.inputs[index]
        scale, zero = self.parameters(node, index + 1)
        if name in self.constants:
            made = f"{node.name}/operand_{index}"
            self.constant(made, self.constants[name], scale, zero, axis)
            return made
        real = self.real.get(name, name)
        self.mark(real, scale, zero, node)
        return real

    def bias(self, node: Node, index: int) -> list[str]:
        if len(node.inputs) <= index or not node.inputs[index]:
            return []
        made = f"{node.name}/bias"
        scale = np.asarray(self.parameters(node, 1)[0] * self.parameters(node, 4)[0], np.float32)
        values = self.fixed(node, index)
        self.constant(made, values, scale, np.zeros(scale.shape, np.int32), 0)
        return [made]

    def constant(
        self, name: str, values: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], axis: int
    ) -> None:
        if values.dtype == np.uint8:
            values, zero = values.astype(np.int16) - 128, zero.astype(np.int16) - 128
        whole, point = values.astype(np.float64), zero.astype(np.float64)
        real = (whole - _along(point, axis, values.ndim)) * _along(scale.astype(np.float64), axis, values.ndim)
        self.constants[name] = real.astype(np.float32)
        self.integers[name] = Integers(values, np.asarray(scale, np.float32), zero)

    def clamped(self, name: str, mark: Mark | None) -> str:
        """The tensor past the Relu or ReLU6 that its saturation stands for: quantizers leave those nodes out."""
        producer = self.nodes[-1] if self.nodes else None
        if mark is None or mark.zero_point or name in self.clamps:
            return self.clamps.get(name, name)
        if producer is None or name not in producer.outputs or producer.op not in _SIGNED:
            return name
        made = f"{name}/clamped"
        self.clamps[name] = made
        if abs(255 * mark.scale - 6) < 1e-3:
            bounds = (self.number("zero", 0), self.number("six", 6))
            self.nodes.append(Node("Clip", made, (name, *bounds), (made,)))
        else:
            self.nodes.append(Node("Relu", made, (name,), (made,)))
        self.marks[made] = self.marks.pop(name)
        return made

    def number(self, name: str, value: float) -> str:
        self.constants[f"lifted/{name}"] = np.asarray(value, np.float32)
        return f"lifted/{name}"

    def mark(self, name: str, scale: NDArray[Any], zero: NDArray[Any], node: Node) -> Mark | None:
        if scale.size != 1:
            raise ModelError(f"node {node.name!r}: an activation has {scale.size} scales; it must have one")
        if zero.dtype not in (np.uint8, np.int8):
            self.notes.append(f"tensor {name!r}: its {zero.dtype} form was left out")
            return None
        found = Mark(float(scale.reshape(())), int(zero.reshape(())) + (128 if zero.dtype == np.int8 else 0))
        if self.marks.setdefault(name, found) != found:
            self.notes.append(f"tensor {name!r}: was quantized twice, the second time is left out")
        return found

    def parameters(self, node: Node, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        scale = self.fixed(node, index)
        given = len(node.inputs) > index + 1 and node.inputs[index + 1]
        return scale, self.fixed(node, index + 1) if given else np.zeros(scale.shape, np.uint8)

    def fixed(self, node: Node, index: int) -> NDArray[Any]:
        name = node.inputs[index]
        if name not in self.constants:
            raise ModelError(f"node {node.name!r} ({node.op}): {name!r} must be a constant")
        return np.asarray(self.constants[name])


def _along(value: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    """One value for each channel, spread along an axis."""
    if value.size == 1:
        return value.reshape(())
    return value.reshape([-1 if index == axis % rank else 1 for index in range(rank)])
