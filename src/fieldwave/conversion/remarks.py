"""What a user should know of a conversion: what is not integer, and what the NPU leaves to the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldwave.compiler import Compiled
    from fieldwave.graph import Graph

__all__ = ["in_float", "left_to_host"]

_EDGES = {"Cast", "DequantizeLinear", "Flatten", "QuantizeLinear", "Reshape", "Squeeze", "Transpose"}
"""Operators at the edges of the integer part: they convert or rename, and compute nothing."""


def left_to_host(compiled: Compiled) -> str:
    """The operators that an NPU refuses, counted; empty where it computes everything but the edges."""
    return _counted(
        Counter(
            node.op
            for section in compiled.sections
            if section.side == "host"
            for node in section.nodes
            if node.name in compiled.lowering.refusals and node.op not in _EDGES
        )
    )


def in_float(graph: Graph) -> tuple[str, ...]:
    """A line about the operators of a quantized network that compute in float, the last Softmax aside."""
    integer = {name for node in graph.nodes if node.op == "QuantizeLinear" for name in node.outputs}
    integer |= {name for name, value in graph.constants.items() if value.dtype.kind in "iu"}
    found: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.op.startswith("QLinear") or node.op in ("QGemm", "QLinearMatMul"):
            integer.update(node.outputs)
            continue
        inputs = [name for name in node.inputs if name and name not in graph.constants]
        if inputs and all(name in integer for name in inputs) and node.op != "DequantizeLinear":
            integer.update(node.outputs)
        elif node.op not in _EDGES and node.op != "Softmax":
            found.setdefault(node.op, []).append(node.name)
    if not found:
        return ()
    counted = _counted(Counter({op: len(names) for op, names in found.items()}))
    first = next(iter(found.values()))[0]
    return (f"in float, on the host: {counted}; the first is {first!r}",)


def _counted(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{op} ({count})" if count > 1 else op for op, count in sorted(operators.items()))
