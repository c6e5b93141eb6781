"""Which nodes run where: the fewest sections, alternately on the host and on the NPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fieldwave.compiler.operations import Move, Step
from fieldwave.graph import Graph, Node

__all__ = ["Section", "partition"]

Side = Literal["host", "npu"]


@dataclass(frozen=True)
class Section:
    """A run of nodes on one side.

    Attributes:
        side: where it runs.
        nodes: in order.
        inputs, outputs: the tensors that it takes from and leaves for others.
    """

    side: Side
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def partition(graph: Graph, steps: Mapping[str, Step]) -> tuple[Section, ...]:
    """Sections in order of execution; a node is in the earliest that its inputs allow.

    A step that only renames is no work for the NPU: it goes to the host where nothing on the NPU reads it.
    """
    sides = _sides(graph, steps)
    level: dict[str, int] = {}
    made_in: dict[str, tuple[Side, int]] = {}
    for node in graph.nodes:
        side = sides[node.name]
        earliest = 0 if side == "host" else 1
        for name in node.inputs:
            if name in made_in:
                other, at = made_in[name]
                earliest = max(earliest, at if other == side else at + 1)
        level[node.name] = earliest
        made_in.update(dict.fromkeys(node.outputs, (side, earliest)))
    sections = []
    for at in sorted(set(level.values())):
        nodes = tuple(node for node in graph.nodes if level[node.name] == at)
        sections.append(_section(graph, "npu" if at % 2 else "host", nodes))
    return tuple(sections)


def _sides(graph: Graph, steps: Mapping[str, Step]) -> dict[str, Side]:
    consumers = graph.consumers()
    sides: dict[str, Side] = {}
    for node in reversed(graph.nodes):
        read = any(sides[reader.name] == "npu" for reader in consumers.get(node.output, []))
        idle = isinstance(steps.get(node.name), Move) and not read
        sides[node.name] = "npu" if node.name in steps and not idle else "host"
    return sides


def _section(graph: Graph, side: Side, nodes: tuple[Node, ...]) -> Section:
    made = [name for node in nodes for name in node.outputs if name]
    inside = {node.name for node in nodes}
    consumers = graph.consumers()
    wanted = {value.name for value in graph.outputs}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    return Section(
        side,
        nodes,
        tuple(name for name in read if name not in graph.constants and name not in made),
        tuple(
            name
            for name in made
            if name in wanted or any(reader.name not in inside for reader in consumers.get(name, []))
        ),
    )
