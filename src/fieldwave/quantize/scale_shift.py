"""Batch norms that no layer precedes: a gain and a shift for each channel, in integers.

DenseNet and other networks that normalise before they convolve have a batch norm (and Relu) over joined maps. It
becomes a depthwise 1 x 1 convolution whose weights are ``w * 2**e`` with ``w`` in +-64..127: then its multiplier
``xs * ws[c] / ys`` is a power of two and the result integer arithmetic alone. What the gain is larger or smaller
than that, at most one part in 128, goes into the weights of the layers that follow (docs/numerics.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph, Node
from fieldwave.quantize.fold import affine
from fieldwave.quantize.rescale import Draft
from fieldwave.quantize.shapes import Shapes

__all__ = ["MOST", "is_binary", "scale_shifts", "split"]

LEAST, MOST = 64, 127
"""Magnitudes of the integer weight of a channel that is not dead."""
_DEAD = 2.0**-30
"""A gain below this is none."""


def scale_shifts(graph: Graph, shapes: Shapes) -> Graph:
    """Turn each remaining gain and shift of maps into a depthwise 1 x 1 convolution; the gamma of an L2
    normalisation stays with it."""
    constants: dict[str, NDArray[Any]] = dict(graph.constants)
    normalised = {node.output for node in graph.nodes if node.op == "LpNormalization"}
    nodes, made = [], []
    for node in graph.nodes:
        found = affine(node, graph)
        spread = found is not None and (node.op == "BatchNormalization" or found.spread is True)
        if found is None or not spread or found.tensor in normalised or len(shapes[found.tensor]) != 4:
            nodes.append(node)
            continue
        count = shapes[found.tensor][1]
        if found.gain.size != count or shapes[node.output] != shapes[found.tensor]:
            nodes.append(node)
            continue
        names = f"{node.name}/gain", f"{node.name}/shift"
        gain = np.where(np.abs(found.gain) < _DEAD, 0.0, found.gain)
        constants[names[0]] = gain.astype(np.float32).reshape(-1, 1, 1, 1)
        constants[names[1]] = found.shift.astype(np.float32)
        attributes = {"group": count, "kernel_shape": [1, 1]}
        made.append(Node("Conv", node.name, (found.tensor, *names), node.outputs, attributes))
        nodes.append(made[-1])
    draft = Draft(graph.with_nodes(nodes, constants), shapes)
    for node in made:
        gain = draft.constants()[node.inputs[1]].astype(np.float64).reshape(-1)
        weight, exponent = split(gain)
        ratio = np.where(weight != 0, gain / np.where(weight != 0, np.ldexp(weight, exponent), 1), 1.0)
        if draft.multiply_inputs(node.output, ratio):
            draft.multiply_outputs(node, 1 / ratio)
    return draft.finished()


def split(gain: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The integers ``w`` of 64..127 in magnitude, or 0, and ``e`` with ``w * 2**e`` next to each gain."""
    fraction, exponent = np.frexp(gain)
    weight = np.rint(fraction * 128)
    over = np.abs(weight) > MOST
    return np.where(over, np.copysign(LEAST, weight), weight), exponent.astype(np.int64) - 7 + over


def is_binary(gain: NDArray[Any]) -> bool:
    """Whether every gain is an integer of at most seven bits times a power of two."""
    weight, exponent = split(gain.astype(np.float64).reshape(-1))
    return bool(np.array_equal(np.ldexp(weight, exponent), gain.astype(np.float64).reshape(-1)))
