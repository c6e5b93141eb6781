"""Rewrites of the float graph that leave its function alone and leave less to quantize."""

from __future__ import annotations

import numpy as np

from fieldwave.graph import Graph, Node

__all__ = ["drop_identities", "fold_batch_norm"]

_IDENTITIES = {"Identity", "Dropout"}


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


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold each BatchNormalization into the convolution before it, where that has no other reader.

    ``y = gamma * (conv(x) - mean) / sqrt(var + eps) + beta`` is a convolution with weights scaled per output
    channel (Jacob et al. 2018, arXiv:1712.05877, section 3.2). Computed in float64, stored in float32.
    """
    consumers, producers = graph.consumers(), graph.producers()
    constants = dict(graph.constants)
    folded: dict[str, Node] = {}
    removed = set()
    for node in graph.nodes:
        conv = producers.get(node.inputs[0]) if node.op == "BatchNormalization" else None
        if conv is None or conv.op != "Conv" or len(consumers[conv.output]) > 1:
            continue
        if conv.inputs[1] not in constants or any(name not in constants for name in node.inputs[1:]):
            continue
        gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in node.inputs[1:5])
        gain = gamma / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        weights = constants[conv.inputs[1]].astype(np.float64)
        bias = constants[conv.inputs[2]].astype(np.float64) if len(conv.inputs) > 2 else 0.0
        weight_name, bias_name = f"{conv.name}/folded_weights", f"{conv.name}/folded_bias"
        constants[weight_name] = (weights * gain.reshape(-1, 1, 1, 1)).astype(np.float32)
        constants[bias_name] = ((bias - mean) * gain + beta).astype(np.float32)
        folded[conv.name] = Node(
            "Conv", conv.name, (conv.inputs[0], weight_name, bias_name), (node.output,), conv.attributes
        )
        removed.add(node.name)
    nodes = [folded.get(node.name, node) for node in graph.nodes if node.name not in removed]
    return graph.with_nodes(nodes, constants)
