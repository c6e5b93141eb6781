"""What is quantized: which operators become integer ones, and which tensors must share one scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from fieldwave.graph import Graph, Node

__all__ = ["CLAMPS", "MOVES", "Plan", "clamp_limits", "make_plan"]

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
        groups: every quantized tensor -> the tensors that share its scale, itself included.
    """

    integer: set[str] = field(default_factory=set)
    activation: dict[str, Node] = field(default_factory=dict)
    groups: dict[str, frozenset[str]] = field(default_factory=dict)

    def result(self, node: Node) -> str:
        """The float tensor that the integer form of ``node`` stands for: past its clamp, where one is fused."""
        return self.activation[node.name].output if node.name in self.activation else node.output


def make_plan(graph: Graph) -> Plan:
    """Decide, node by node.

    Operators with learned constants, adds and averages become integer ones wherever they stand; operators that
    only move bytes do so where they touch one of those. The rest (Softmax and the like) stays in float.
    """
    plan = Plan()
    consumers = graph.consumers()
    outputs = {value.name for value in graph.outputs}
    shared: dict[str, set[str]] = {}

    def join(names: list[str]) -> None:
        merged = set().union(*(shared.get(name, {name}) for name in names))
        shared.update(dict.fromkeys(merged, merged))

    anchored = set()
    fused: set[str] = set()
    for node in graph.nodes:
        if node.name in fused:
            continue
        if node.op in MOVES or _is_clamp(node, graph):
            join([*_activations(node, graph), node.output])
        elif node.op in _COMPUTES and _COMPUTES[node.op](node, graph):
            plan.integer.add(node.name)
            readers = consumers.get(node.output, [])
            if len(readers) == 1 and _is_clamp(readers[0], graph) and node.output not in outputs:
                plan.activation[node.name] = readers[0]
                fused.add(readers[0].name)
            anchored.update([*_activations(node, graph), plan.result(node)])
    for name in anchored:
        join([name])
    for name, group in shared.items():
        if group & anchored:
            plan.groups[name] = frozenset(group)
    for node in graph.nodes:
        if node.op in MOVES | CLAMPS and node.name not in fused and node.output in plan.groups:
            plan.integer.add(node.name)
    return plan


def _activations(node: Node, graph: Graph) -> list[str]:
    return [name for name in node.inputs if name and name not in graph.constants]


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


def _is_clamp(node: Node, graph: Graph) -> bool:
    return node.op in CLAMPS and clamp_limits(node, graph) is not None


def _weighted(node: Node, graph: Graph) -> bool:
    attributes, weights = node.attributes, graph.constants.get(node.inputs[1])
    if weights is None or weights.ndim != (4 if node.op == "Conv" else 2) or attributes.get("transA", 0):
        return False
    unscaled = float(attributes.get("alpha", 1.0)) == float(attributes.get("beta", 1.0)) == 1.0
    return _explicit(node, graph) and unscaled and all(name in graph.constants for name in node.inputs[2:] if name)


def _joins_maps(node: Node, graph: Graph) -> bool:
    return len(_activations(node, graph)) == 2


def _explicit(node: Node, graph: Graph) -> bool:
    return str(node.attributes.get("auto_pad", "NOTSET")) == "NOTSET"


_COMPUTES: dict[str, Callable[[Node, Graph], bool]] = {
    "Add": _joins_maps,
    "AveragePool": _explicit,
    "Conv": _weighted,
    "Gemm": _weighted,
    "GlobalAveragePool": _explicit,
    "MatMul": _weighted,
}
