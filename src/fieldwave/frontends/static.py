"""Shapes that a network computes, replaced by the numbers that they always are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fieldwave.frontends.measure import run
from fieldwave.frontends.prune import live
from fieldwave.graph import Graph, Node

__all__ = ["free_batch", "static_shapes"]

_SHAPE_INPUTS = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Slice": (1, 2, 3, 4),
    "Pad": (1,),
    "Resize": (2, 3),
}


def static_shapes(graph: Graph) -> Graph:
    """Replace what Reshape and its like are told by a computation with constants.

    Measured at two numbers of images: a value that stays is a constant, and the one value of a Reshape that
    grows with the number of images is -1. Anything else stays computed.
    """
    asked = [
        (node, node.inputs[index])
        for node in graph.nodes
        for index in _SHAPE_INPUTS.get(node.op, ())
        if index < len(node.inputs) and node.inputs[index] and node.inputs[index] not in graph.constants
    ]
    if not asked:
        return graph
    source = graph.inputs[0]
    size = [dim or 1 for dim in source.shape[1:]]
    two, three = (
        run(graph, np.zeros((batch, *size), np.float32), [name for _, name in asked]) for batch in (2, 3)
    )
    constants = dict(graph.constants)
    for node, name in asked:
        grows = two[name] != three[name]
        if not grows.any():
            constants[name] = two[name]
        elif node.op == "Reshape" and grows.sum() == 1 and (two[name] != -1).all():
            constants[name] = np.where(grows, np.asarray(-1, np.int64), two[name])
    nodes = [node for node in graph.nodes if not set(node.outputs) & constants.keys()]
    return live(graph.with_nodes(nodes, constants))


def free_batch(graph: Graph, batch: int) -> Graph:
    """Let a network that was exported for ``batch`` images take any number, as far as Reshapes say it."""
    constants = dict(graph.constants)
    nodes = []
    for node in graph.nodes:
        target = graph.constants.get(node.inputs[1]) if node.op == "Reshape" else None
        if target is None or target.size < 2 or target[0] != batch:
            nodes.append(node)
            continue
        name = f"{node.inputs[1]}/any_batch"
        constants[name] = target.copy()
        constants[name][0] = 0 if (target[1:] == -1).any() else -1  # 0 copies the input's dimension
        nodes.append(_reading(node, 1, name))
    return graph.with_nodes(nodes, constants)


def _reading(node: Node, index: int, name: str) -> Node:
    inputs = list(node.inputs)
    inputs[index] = name
    return replace(node, inputs=tuple(inputs))
