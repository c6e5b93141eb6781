"""Rewrites of the float graph that leave its function alone and leave less to quantize."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.shapes import Shapes

__all__ = ["Affine", "affine", "drop_identities", "fold_affine"]

_IDENTITIES = {"Identity", "Dropout"}
_ARITHMETIC = {"Add", "Sub", "Mul", "Div"}


@dataclass(frozen=True)
class Affine:
    """``y = gain * x + shift``, channel by channel.

    Attributes:
        tensor: x.
        gain, shift: float64, [C] or a scalar.
        spread: whether the channels are those of a map [N, C, H, W]; else those of the last axis.
    """

    tensor: str
    gain: NDArray[np.float64]
    shift: NDArray[np.float64]
    spread: bool | None


def drop_identities(graph: Graph) -> Graph:
    """Remove operators that do nothing at inference; a graph output keeps its name."""
    kept_names = {value.name for value in graph.outputs}
    alias: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        inputs = tuple(alias.get(name, name) for name in node.inputs)
        if node.op in _IDENTITIES and node.output not in kept_names:
            alias[node.output] = inputs[0]
        else:
            nodes.append(Node(node.op, node.name, inputs, node.outputs, node.attributes, node.domain))
    return graph.with_nodes(nodes, graph.constants)


def fold_affine(graph: Graph, shapes: Shapes) -> Graph:
    """Fold each BatchNormalization, and constants added or multiplied channel by channel, into the layer before.

    ``y = gamma * (conv(x) - mean) / sqrt(var + eps) + beta`` is a convolution with weights scaled per output
    channel (Jacob et al. 2018, arXiv:1712.05877, section 3.2). Computed in float64, stored in float32. A tensor
    that others read, or that is an output of the graph, stays; so does what has computed parameters.
    """
    outputs = {value.name for value in graph.outputs}
    consumers = graph.consumers()
    constants = dict(graph.constants)
    made: dict[str, int] = {}
    nodes: list[Node | None] = []
    for node in graph.nodes:
        found = affine(node, graph)
        at = made.get(found.tensor) if found is not None else None
        layer = nodes[at] if at is not None else None
        folded = None
        if found is not None and layer is not None and found.tensor not in outputs:
            alone = len(consumers[found.tensor]) == 1
            folded = _folded(layer, found, node.output, constants, shapes) if alone else None
        if folded is not None and at is not None:
            nodes[at] = None
            node = folded
        made.update(dict.fromkeys(node.outputs, len(nodes)))
        nodes.append(node)
    return graph.with_nodes([node for node in nodes if node is not None], constants)


def affine(node: Node, graph: Graph) -> Affine | None:
    """The node as a gain and a shift for each channel, or None where it is something else."""
    constants = graph.constants
    if node.op == "BatchNormalization":
        if any(name not in constants for name in node.inputs[1:]) or node.attributes.get("training_mode", 0):
            return None
        gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in node.inputs[1:5])
        gain = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        return Affine(node.inputs[0], gain, beta - mean * gain, None)
    if node.op not in _ARITHMETIC or len(node.inputs) != 2:
        return None
    fixed = [name in constants for name in node.inputs]
    if fixed.count(True) != 1 or (node.op == "Div" and fixed[0]):
        return None
    tensor, constant = (node.inputs[fixed.index(value)] for value in (False, True))
    value = constants[constant].astype(np.float64)
    if value.size == 1:
        value, spread = value.reshape(1), None
    elif value.ndim in (3, 4) and value.size == value.shape[-3]:
        value, spread = value.reshape(-1), True
    elif value.size == value.shape[-1]:
        value, spread = value.reshape(-1), False
    else:
        return None
    one, zero = np.ones_like(value), np.zeros_like(value)
    match node.op:
        case "Add":
            return Affine(tensor, one, value, spread)
        case "Sub":
            return Affine(tensor, -one if fixed[0] else one, value if fixed[0] else -value, spread)
        case "Mul":
            return Affine(tensor, value, zero, spread)
        case _:
            return Affine(tensor, 1 / value, zero, spread)


def _folded(
    layer: Node, found: Affine, output: str, constants: dict[str, NDArray[np.float32]], shapes: Shapes
) -> Node | None:
    """The layer with the affine function in its weights and bias."""
    if layer.op not in ("Conv", "Gemm", "MatMul") or layer.inputs[1] not in constants:
        return None
    bias_name = layer.inputs[2] if len(layer.inputs) > 2 else ""
    weights = constants[layer.inputs[1]].astype(np.float64)
    if (bias_name and bias_name not in constants) or weights.ndim != (4 if layer.op == "Conv" else 2):
        return None
    if found.spread is (layer.op != "Conv"):
        return None
    if layer.op == "MatMul" and len(shapes[layer.output]) != 2:
        return None
    if layer.op == "Gemm" and any(float(layer.attributes.get(name, 1.0)) != 1.0 for name in ("alpha", "beta")):
        return None
    axis = 0 if layer.op == "Conv" or layer.attributes.get("transB", 0) else 1
    count = weights.shape[axis]
    if found.gain.size not in (1, count):
        return None
    gain, shift = np.broadcast_to(found.gain, count), np.broadcast_to(found.shift, count)
    bias = np.broadcast_to(constants[bias_name].astype(np.float64).reshape(-1) if bias_name else 0.0, count)
    spread = [-1 if index == axis else 1 for index in range(weights.ndim)]
    names = f"{layer.name}/folded_weights", f"{layer.name}/folded_bias"
    if np.all(gain == 1):
        names = layer.inputs[1], names[1]
    else:
        constants[names[0]] = (weights * gain.reshape(spread)).astype(np.float32)
    constants[names[1]] = (bias * gain + shift).astype(np.float32)
    op = "Gemm" if layer.op == "MatMul" else layer.op
    return Node(op, layer.name, (layer.inputs[0], *names), (output,), layer.attributes)
