"""Rewrites of a float graph, one idea each, that leave its function alone; the quantizer has more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fieldwave.frontends.prune import live
from fieldwave.graph import Graph, Node

__all__ = [
    "drop_idle_reshapes",
    "flatten_heads",
    "gains_last",
    "upper_bounds_into_clips",
]

Shapes = Mapping[str, tuple[int | None, ...]]


def flatten_heads(graph: Graph, shapes: Shapes) -> Graph:
    """A Reshape or Squeeze of [N, ...] to [N, values] is a Flatten."""
    nodes = []
    for node in graph.nodes:
        before, after = (shapes.get(name, ()) for name in (node.inputs[0] if node.inputs else "", node.output))
        heads = node.op in ("Reshape", "Squeeze") and len(before) > 2 and len(after) == 2
        if heads and before[0] is None and after[0] is None and None not in before[1:]:
            node = Node("Flatten", node.name, node.inputs[:1], node.outputs, {"axis": 1})
        nodes.append(node)
    return graph.with_nodes(nodes, graph.constants)


def drop_idle_reshapes(graph: Graph, shapes: Shapes) -> Graph:
    """A Reshape to the shape that its input has is none."""
    outputs = {value.name for value in graph.outputs}
    alias: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs))
        same = node.op == "Reshape" and shapes.get(node.inputs[0]) == shapes.get(node.output)
        if same and node.output not in outputs and sum(size is None for size in shapes[node.output]) <= 1:
            alias[node.output] = node.inputs[0]
        else:
            nodes.append(node)
    return graph.with_nodes(nodes, graph.constants)


def gains_last(graph: Graph) -> Graph:
    """``x * (a * gain)`` is ``(x * a) * gain`` for a constant gain, so that a normalisation is seen."""
    producers, consumers = graph.producers(), graph.consumers()
    replaced: dict[str, list[Node]] = {}
    dropped = set()
    for node in graph.nodes:
        if node.op != "Mul" or any(name in graph.constants for name in node.inputs):
            continue
        for x, product in (node.inputs, node.inputs[::-1]):
            inner = producers.get(product)
            if inner is None or inner.op != "Mul" or len(consumers[product]) > 1:
                continue
            gains = [name for name in inner.inputs if name in graph.constants]
            computed = [name for name in inner.inputs if name not in graph.constants]
            if len(gains) == len(computed) == 1:
                middle = f"{node.output}/before_gain"
                replaced[node.name] = [
                    Node("Mul", f"{node.name}/before_gain", (x, computed[0]), (middle,)),
                    Node("Mul", node.name, (middle, gains[0]), node.outputs),
                ]
                dropped.add(inner.name)
                break
    nodes = [one for node in graph.nodes if node.name not in dropped for one in replaced.get(node.name, [node])]
    return graph.with_nodes(nodes, graph.constants)


def upper_bounds_into_clips(graph: Graph) -> Graph:
    """``Min(Relu(x), 6)`` is ``Clip(x, 0, 6)``, whichever of the two comes first."""
    producers, consumers = graph.producers(), graph.consumers()
    constants = dict(graph.constants)
    nodes = []
    for node in graph.nodes:
        bounds = [name for name in node.inputs if name in constants and constants[name].size == 1]
        others = [name for name in node.inputs if name not in bounds]
        relu = producers.get(others[0]) if len(others) == 1 else None
        if node.op == "Min" and len(bounds) == 1 and relu and relu.op == "Relu" and len(consumers[others[0]]) == 1:
            low, high = f"{node.name}/low", f"{node.name}/high"
            constants[low] = np.zeros((), np.float32)
            constants[high] = constants[bounds[0]].reshape(()).astype(np.float32)
            node = Node("Clip", node.name, (relu.inputs[0], low, high), node.outputs)
        nodes.append(node)
    return live(graph.with_nodes(nodes, constants))
