"""Bias correction: the mean error that rounding the weights makes is taken from the biases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.calibrate import Observed, Scale
from fieldwave.quantize.emit import integer_weights
from fieldwave.quantize.plan import Plan, is_scale_shift

__all__ = ["bias_errors"]


def bias_errors(
    graph: Graph, plan: Plan, scales: Mapping[str, Scale], observed: Mapping[str, Observed]
) -> dict[str, NDArray[np.float64]]:
    """By layer and channel, ``(rounded weights - weights) * mean of the input``; `emit` takes it from the biases.

    The mean is that of the calibration images, channel by channel (Nagel et al. 2019, arXiv:1906.04721, section
    4.2); rows and columns that padding takes from the sum at the border are not counted.
    """
    found = {}
    for node in graph.nodes:
        if node.name in plan.integer and node.op in ("Conv", "Gemm") and not is_scale_shift(node, graph):
            error = _mean_error(graph, plan, scales, observed, node)
            if error is not None:
                found[node.name] = error
    return found


def _mean_error(
    graph: Graph, plan: Plan, scales: Mapping[str, Scale], observed: Mapping[str, Observed], node: Node
) -> NDArray[np.float64] | None:
    """What rounding a layer's weights adds to each output channel in the mean, or None where no mean is known."""
    mean = observed[node.inputs[0]].mean if node.inputs[0] in observed else None
    weights = graph.constants[node.inputs[1]]
    transposed = node.op == "Gemm" and not node.attributes.get("transB", 0)
    group = int(node.attributes.get("group", 1)) if node.op == "Conv" else 1
    share = weights.shape[0] if transposed else weights.shape[1]
    if mean is None or mean.size != group * share:
        return None
    rounded, scale = integer_weights(graph, plan, scales, node)
    if transposed:
        weights, rounded = weights.T, rounded.T
    found = np.empty(len(weights))
    for channel in range(len(weights)):  # one by one: a fully connected layer may have 100 million weights
        error = rounded[channel] * scale[channel].astype(np.float64) - weights[channel]
        first = channel // (len(weights) // group) * share
        found[channel] = error.reshape(share, -1).sum(1) @ mean[first : first + share]
    return found
