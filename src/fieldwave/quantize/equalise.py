"""Cross-layer equalisation: channels between two layers use their bytes alike.

Where nothing but Relus and pools lies between two layers, a channel can be divided by a factor in the first one's
weights and multiplied again in the second one's: the same function. Factors that follow the channels' ranges let
every channel use all of its bytes (Nagel et al. 2019, arXiv:1906.04721, section 4.1; for activations as here:
Xiao et al. 2023, SmoothQuant, arXiv:2211.10438). The common factor of a tensor is free as well: with it, a scale
that must be a power of two fits as well as one that need not be.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.calibrate import Observed
from fieldwave.quantize.plan import Plan, is_scale_shift
from fieldwave.quantize.rescale import Draft
from fieldwave.quantize.shapes import Shapes

__all__ = ["equalised", "free_tensors", "rescaled"]

_STRENGTH = 0.5
"""Exponent of the ranges in the factors: 0 leaves the channels as they are, 1 makes their ranges equal."""
_MOST = 32.0
"""Ratio of the largest to the smallest factor of a tensor."""


def free_tensors(graph: Graph, plan: Plan, shapes: Shapes) -> dict[str, Node]:
    """The tensors whose channels can be scaled, and the layers that make them."""
    draft = Draft(graph, shapes)
    found = {}
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm", "MatMul") and node.name in plan.integer and not is_scale_shift(node, graph):
            clamp, readers = plan.activation.get(node.name), draft.readers(node.output)
            if readers is None or (clamp is not None and clamp.op != "Relu"):
                continue
            # A scale-shift has gains of seven bits, which another factor would take from it.
            if not any(is_scale_shift(reader, graph) for reader, _ in readers):
                found[plan.result(node)] = node
    return found


def equalised(
    graph: Graph, plan: Plan, observed: Mapping[str, Observed], shapes: Shapes
) -> tuple[Graph, dict[str, Observed]]:
    """The same function with evener channels, and what its tensors then are on the calibration images."""
    factors = {}
    for name in free_tensors(graph, plan, shapes):
        size = np.sqrt(observed[name].square)
        if size.max() > 0:
            size = np.maximum(size / size.max(), 1e-6) ** _STRENGTH
            factors[name] = np.maximum(size, 1 / _MOST)
    return rescaled(graph, plan, observed, shapes, factors)


def rescaled(
    graph: Graph,
    plan: Plan,
    observed: Mapping[str, Observed],
    shapes: Shapes,
    factors: Mapping[str, NDArray[np.float64]],
) -> tuple[Graph, dict[str, Observed]]:
    """Divide channels of free tensors by factors, and let their readers multiply them again."""
    draft, now = Draft(graph, shapes), dict(observed)
    for name, node in free_tensors(graph, plan, shapes).items():
        if name not in factors or not draft.multiply_inputs(node.output, factors[name]):
            continue
        draft.multiply_outputs(node, 1 / factors[name])
        for other in plan.groups[name]:  # the tensor itself, and pools of it
            repeated = observed[other].low.size // factors[name].size
            now[other] = observed[other].divided(np.repeat(factors[name], max(repeated, 1)))
    return draft.finished(), now
