"""What no output needs."""

from __future__ import annotations

from fieldwave.graph import Graph, Node

__all__ = ["live"]


def live(graph: Graph) -> Graph:
    """Drop the nodes that no output needs, and their constants."""
    needed = {value.name for value in graph.outputs}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            needed |= set(node.inputs)
            nodes.append(node)
    return graph.with_nodes(nodes[::-1], graph.constants)
