"""What stays on the host, as an ONNX model of its own."""

from __future__ import annotations

from collections.abc import Mapping

from fieldwave.compiler.partition import Section
from fieldwave.compiler.program import HostSection
from fieldwave.compiler.shapes import TensorType
from fieldwave.graph import Graph, Value, to_onnx

__all__ = ["host_section"]


def host_section(graph: Graph, section: Section, types: Mapping[str, TensorType]) -> HostSection:
    """Cut the section's nodes out of the network, for one image."""
    inputs, outputs = (
        tuple(Value(name, types[name].dtype, types[name].shape) for name in names)
        for names in (section.inputs, section.outputs)
    )
    part = Graph(f"{graph.name}/host", inputs, outputs, (), {}).with_nodes(list(section.nodes), graph.constants)
    names = tuple(node.name for node in section.nodes)
    model = to_onnx(part).SerializeToString(deterministic=True)
    return HostSection(names, section.inputs, section.outputs, model)
