"""ONNX nodes to NPU operations, one node at a time; a node that the NPU cannot run is refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldwave.compiler.operations import FeatureMap, Step
from fieldwave.compiler.operators import OPERATORS
from fieldwave.compiler.scope import Refused, Scope
from fieldwave.compiler.shapes import TensorType
from fieldwave.graph import Graph, Node
from fieldwave.npu import Configuration

__all__ = ["Lowering", "lower"]


@dataclass(frozen=True)
class Lowering:
    """What becomes of every node.

    Attributes:
        steps: name of a node -> its NPU form.
        refusals: name of a node -> why it stays on the host.
        maps: the feature map of every tensor that an NPU step reads or makes.
    """

    steps: Mapping[str, Step]
    refusals: Mapping[str, str]
    maps: Mapping[str, FeatureMap]


def lower(graph: Graph, types: Mapping[str, TensorType], configuration: Configuration) -> Lowering:
    """Lower every node that the NPU of this configuration can run.

    A tensor that the host makes is taken for channels-first, but one that is only read by transpositions from
    channels-last is what it is: then nobody moves a byte.
    """
    consumers = graph.consumers()
    steps: dict[str, Step] = {}
    refusals: dict[str, str] = {}
    maps: dict[str, FeatureMap] = {}

    def from_host(name: str) -> FeatureMap | None:
        readers = consumers.get(name, [])
        last = bool(readers) and all(_to_channels_first(node) for node in readers)
        return _host_map(types[name], last) if name in types else None

    for node in graph.nodes:
        known = dict(maps)
        for name in node.inputs:
            found = None if name in known or name in graph.constants else from_host(name)
            if found is not None:
                known[name] = found
        try:
            step, result = OPERATORS.get(node.op, _unknown)(
                Scope(node, graph.constants, types, known, consumers.get(node.output, ()), configuration)
            )
        except Refused as refused:
            refusals[node.name] = str(refused)
            continue
        steps[node.name] = step
        maps.update({name: known[name] for name in node.inputs if name in known})
        maps[node.output] = result
    return Lowering(steps, refusals, maps)


def _to_channels_first(node: Node) -> bool:
    return node.op == "Transpose" and node.ints("perm", ()) == (0, 3, 1, 2)


def _host_map(kind: TensorType, channels_last: bool) -> FeatureMap | None:
    if kind.dtype != "uint8" or not kind.shape or kind.shape[0] != 1:
        return None
    if len(kind.shape) == 4 and channels_last:
        return FeatureMap(*kind.shape[1:], form="nhwc")
    if len(kind.shape) == 4:
        return FeatureMap(kind.shape[2], kind.shape[3], kind.shape[1])
    return FeatureMap(1, 1, kind.shape[1], "flat") if len(kind.shape) == 2 else None


def _unknown(scope: Scope) -> tuple[Step, FeatureMap]:
    floats = sorted({scope.types[name].dtype for name in scope.activations()} - {"uint8"})
    if floats:
        raise Refused(f"{scope.node.op} works on {', '.join(floats)}; the NPU works on uint8")
    raise Refused(f"the NPU has no operation for {scope.node.op}")
