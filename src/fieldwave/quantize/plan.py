"""What is quantized: which operators become integer ones, and which tensors must share one scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.functions import Function, find_functions
from fieldwave.quantize.shapes import Shapes

__all__ = ["CLAMPS", "MOVES", "Plan", "clamp_limits", "is_scale_shift", "make_plan"]

CLAMPS = {"Relu", "Clip"}
"""Activations that are a clamp: they vanish into the saturation of what they follow, or clip its bytes."""
MOVES = {"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "MaxPool", "Concat"}
"""Operators that only move or compare bytes: what goes in and out has one scale and zero point."""


@dataclass
class Plan:
    """The quantizer's view of a float graph.

    Attributes:
        integer: names of the nodes that become integer operators.
        activation: name of a node -> the clamp (Relu, Clip) that is fused into it.
        gains: name of an LpNormalization -> the Mul by a constant that is fused into it.
        functions: name of a node -> the function that its output is, looked up in a table.
        joined: a Concat's output whose slices keep scales of their own -> each slice and its channels.
        groups: every quantized tensor -> the tensors that share its scale, itself included.
        weights: constants that came as int8 -> those, and one step for each output channel.
        biases: constants that came as int32 -> those, and their steps.
        shifts: name of a layer -> what its biases are less in integers, for each output channel.
    """

    integer: set[str] = field(default_factory=set)
    activation: dict[str, Node] = field(default_factory=dict)
    gains: dict[str, Node] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    joined: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    weights: dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]] = field(default_factory=dict)
    biases: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=dict)
    shifts: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def result(self, node: Node) -> str:
        """The float tensor that the integer form of ``node`` stands for: past its gain and clamp, where fused."""
        name = self.gains[node.name].output if node.name in self.gains else node.output
        return self.activation[node.name].output if node.name in self.activation else name

    def absorbed(self) -> set[str]:
        """Names of the nodes that vanish into another."""
        return {node.name for node in (*self.activation.values(), *self.gains.values())}


def make_plan(graph: Graph, shapes: Shapes | None = None) -> Plan:
    """Decide, node by node.

    Operators with learned constants, adds and averages become integer ones wherever they stand; operators that
    only move bytes do so where they touch one of those, and elementwise functions where one of those reads them.
    The rest (Softmax and the like) stays in float.

    Args:
        shapes: of the graph's tensors; without them, all slices of a Concat share one scale.
    """
    plan = Plan()
    _fuse(graph, plan)
    plan.joined.update(_joined(graph, shapes) if shapes is not None else {})
    absorbed = plan.absorbed()
    computing = [node for node in graph.nodes if _computes(node, graph)]
    bases = {plan.result(node) for node in computing}
    bases |= {node.output for node in graph.nodes if _moves(node, graph)}
    functions = find_functions(graph, bases)
    wanted = _wanted(graph, functions, bases)

    shared: dict[str, set[str]] = {}

    def join(names: list[str]) -> None:
        merged = set().union(*(shared.get(name, {name}) for name in names))
        shared.update(dict.fromkeys(merged, merged))

    anchored: set[str] = set()
    for node in graph.nodes:
        if node.name in absorbed:
            continue
        function = functions.get(node.output)
        inputs = _activations(node, graph)
        if _computes(node, graph):
            plan.integer.add(node.name)
            for name in inputs:
                anchored.update(slice_ for slice_, _ in plan.joined.get(name, ((name, 0),)))
            anchored.add(plan.result(node))
        elif node.output in plan.joined:
            plan.integer.add(node.name)
        elif _moves(node, graph) or (_is_clamp(node, graph) and function is not None and len(function.nodes) == 1):
            join([*inputs, node.output])
        elif (
            function is not None
            and node.output in wanted
            and shared.get(function.argument, {function.argument}) & anchored
        ):
            plan.integer.add(node.name)
            plan.functions[node.name] = function
            anchored.update((function.argument, node.output))
    for name in anchored:
        join([name])
    for name, group in shared.items():
        if group & anchored:
            plan.groups[name] = frozenset(group)
    for node in graph.nodes:
        if node.name not in absorbed and node.output in plan.groups and (
            _moves(node, graph) or (_is_clamp(node, graph) and node.inputs[0] in plan.groups)
        ):  # fmt: skip
            plan.integer.add(node.name)
    return plan


def is_scale_shift(node: Node, graph: Graph) -> bool:
    """Whether a convolution is a gain and a shift for each channel, so that each may have an input scale."""
    weights = graph.constants.get(node.inputs[1]) if node.op == "Conv" else None
    if weights is None or weights.ndim != 4 or weights.shape[1:] != (1, 1, 1):
        return False
    steps = {*node.ints("strides", (1, 1))}, {*node.ints("pads", (0,))}
    return int(node.attributes.get("group", 1)) == len(weights) and steps == ({1}, {0})


def clamp_limits(node: Node, graph: Graph) -> tuple[float, float] | None:
    """The real values between which a Relu or Clip lets its input through; None where they are computed."""
    if node.op == "Relu":
        return 0.0, math.inf
    limits = [-math.inf, math.inf]
    for index, name in enumerate(node.inputs[1:3]):
        if name and name not in graph.constants:
            return None
        if name:
            limits[index] = float(graph.constants[name])
    return limits[0], limits[1]


def _fuse(graph: Graph, plan: Plan) -> None:
    """Find the clamps and gains that vanish into the node before them."""
    consumers, outputs = graph.consumers(), {value.name for value in graph.outputs}
    for node in graph.nodes:
        if not _computes(node, graph):
            continue
        readers = consumers.get(node.output, [])
        if node.op == "LpNormalization":
            if len(readers) == 1 and _is_gain(readers[0], graph) and node.output not in outputs:
                plan.gains[node.name] = readers[0]
        elif len(readers) == 1 and _is_clamp(readers[0], graph) and node.output not in outputs:
            plan.activation[node.name] = readers[0]


def _joined(graph: Graph, shapes: Shapes) -> dict[str, tuple[tuple[str, int], ...]]:
    """The joins of maps along channels that scale-shifts alone read, directly or joined again."""
    consumers, outputs = graph.consumers(), {value.name for value in graph.outputs}
    free: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op != "Concat" or node.output in outputs or not _moves(node, graph):
            continue
        readers = consumers.get(node.output, [])
        if (
            readers
            and all(reader.output in free or is_scale_shift(reader, graph) for reader in readers)
            and len(shapes[node.output]) == 4
            and int(node.attributes["axis"]) % 4 == 1
        ):
            free.add(node.output)
    found: dict[str, tuple[tuple[str, int], ...]] = {}
    for node in graph.nodes:
        if node.output in free:
            found[node.output] = tuple(
                part for name in node.inputs for part in found.get(name, ((name, shapes[name][1]),))
            )
    return found


def _wanted(graph: Graph, functions: dict[str, Function], bases: set[str]) -> set[str]:
    """The tensors that integer operators read, through moves and functions too."""
    wanted: set[str] = set()
    for node in reversed(graph.nodes):
        if _computes(node, graph) or (_moves(node, graph) and node.output in wanted):
            wanted.update(_activations(node, graph))
        elif node.output in wanted and node.output in functions and node.output not in bases:
            wanted.add(functions[node.output].argument)
    return wanted


def _activations(node: Node, graph: Graph) -> list[str]:
    return [name for name in node.inputs if name and name not in graph.constants]


def _moves(node: Node, graph: Graph) -> bool:
    fixed = () if node.op == "Concat" else node.inputs[1:]
    return (
        node.op in MOVES
        and len(node.outputs) == 1
        and all(name in graph.constants for name in fixed if name)
        and not any(name in graph.constants for name in node.inputs[: len(node.inputs) - len(fixed)])
        and _explicit(node, graph)
    )


def _computes(node: Node, graph: Graph) -> bool:
    return node.op in _COMPUTES and not node.domain and _COMPUTES[node.op](node, graph)


def _is_clamp(node: Node, graph: Graph) -> bool:
    return node.op in CLAMPS and clamp_limits(node, graph) is not None


def _is_gain(node: Node, graph: Graph) -> bool:
    return node.op == "Mul" and len(_activations(node, graph)) == 1


def _weighted(node: Node, graph: Graph) -> bool:
    attributes, weights = node.attributes, graph.constants.get(node.inputs[1])
    if weights is None or weights.ndim != (4 if node.op == "Conv" else 2) or attributes.get("transA", 0):
        return False
    unscaled = float(attributes.get("alpha", 1.0)) == float(attributes.get("beta", 1.0)) == 1.0
    fixed = node.inputs[0] not in graph.constants and all(
        name in graph.constants for name in node.inputs[2:] if name
    )
    return _explicit(node, graph) and unscaled and fixed


def _joins_maps(node: Node, graph: Graph) -> bool:
    return len(_activations(node, graph)) == 2


def _explicit(node: Node, graph: Graph) -> bool:
    return str(node.attributes.get("auto_pad", "NOTSET")) == "NOTSET"


def _euclidean(node: Node, graph: Graph) -> bool:
    return int(node.attributes.get("p", 2)) == 2


_COMPUTES: dict[str, Callable[[Node, Graph], bool]] = {
    "Add": _joins_maps,
    "AveragePool": _explicit,
    "Conv": _weighted,
    "Gemm": _weighted,
    "GlobalAveragePool": _explicit,
    "LpNormalization": _euclidean,
    "MatMul": _weighted,
}
