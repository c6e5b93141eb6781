"""The int8 form of a float network whose scales nobody measured: for estimates of time, never for answers."""

from __future__ import annotations

import numpy as np

from fieldwave.errors import ModelError
from fieldwave.graph import Graph
from fieldwave.quantize.calibrate import Scale
from fieldwave.quantize.emit import emit
from fieldwave.quantize.plan import make_plan
from fieldwave.quantize.simplify import simplified

__all__ = ["unmeasured"]

ANY = Scale(exponent=-4, zero_point=128)


def unmeasured(graph: Graph) -> Graph:
    """``graph`` as `quantize` would write it, operator by operator, but with one scale for all tensors.

    Nothing is calibrated, so it takes a second where `quantize` takes minutes. What runs where, how it is cut into
    tiles and how long it takes is the same; the values that it computes mean nothing.

    Args:
        graph: a float network with one input.

    Raises:
        ModelError: it has several inputs, or nothing that can be quantized.
    """
    if len(graph.inputs) != 1:
        raise ModelError(f"the network has {len(graph.inputs)} inputs; one image input is supported")
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in graph.inputs[0].shape]
    folded, shapes = simplified(graph, np.zeros(shape, np.float32))
    plan = make_plan(folded, shapes)
    if not plan.integer:
        raise ModelError(f"network {graph.name!r} holds no layer that can be quantized")
    return emit(folded, plan, dict.fromkeys(plan.groups, ANY))
