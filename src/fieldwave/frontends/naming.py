"""Nodes in one order and tensors under one name, whatever counters and hash seeds an exporter used."""

from __future__ import annotations

import re
from dataclasses import replace

from fieldwave.graph import Graph, Node

__all__ = ["canonical"]

_COUNTER = re.compile(r"__\d+(?=$|[:/_])")


def canonical(graph: Graph) -> Graph:
    """Sort the nodes by depth-first search from the outputs, and take the counters out of the names.

    The names of inputs and outputs stay. Two exports of one network give one graph.
    """
    nodes = _sorted(graph)
    fixed = {value.name for value in (*graph.inputs, *graph.outputs)}
    names = {name: name for name in fixed}
    taken = set(fixed)
    for node in nodes:
        for name in (*node.inputs, *node.outputs):
            if name and name not in names:
                names[name] = _unused(_COUNTER.sub("", name), taken)
    node_names: set[str] = set()
    renamed = [
        replace(
            node,
            name=_unused(_COUNTER.sub("", node.name) or f"{names[node.output]}/{node.op}", node_names),
            inputs=tuple(names.get(name, name) for name in node.inputs),
            outputs=tuple(names.get(name, name) for name in node.outputs),
        )
        for node in nodes
    ]
    constants = {names[name]: graph.constants[name] for name in names if name in graph.constants}
    return graph.with_nodes(renamed, constants)


def _sorted(graph: Graph) -> list[Node]:
    producers = graph.producers()
    done: set[str] = set()
    nodes: list[Node] = []
    stack = [(producers[value.name], False) for value in reversed(graph.outputs) if value.name in producers]
    while stack:
        node, ready = stack.pop()
        if node.outputs[0] in done:
            continue
        if ready:
            done.add(node.outputs[0])
            nodes.append(node)
            continue
        stack.append((node, True))
        stack.extend((producers[name], False) for name in reversed(node.inputs) if name in producers)
    return nodes


def _unused(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found
