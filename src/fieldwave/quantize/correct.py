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
    weights = graph.constants[node.inputs[1]].astype(np.float64)
    axis = 0 if node.op == "Conv" or node.attributes.get("transB", 0) else 1
    rounded, scale = integer_weights(graph, plan, scales, node)
    spread = [-1 if index == axis else 1 for index in range(weights.ndim)]
    error = rounded * scale.astype(np.float64).reshape(spread) - weights
    mean = observed[node.inputs[0]].mean if node.inputs[0] in observed else None
    if mean is None:
        return None
    if node.op == "Conv":
        group = int(node.attributes.get("group", 1))
        if mean.size != group * weights.shape[1]:
            return None
        per_tap = error.sum((2, 3)).reshape(group, -1, weights.shape[1])
        return np.asarray(np.einsum("gos,gs->go", per_tap, mean.reshape(group, -1)).reshape(-1))
    return np.asarray((error if axis == 0 else error.T) @ mean) if mean.size == weights.shape[1 - axis] else None
