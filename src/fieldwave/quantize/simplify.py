"""The rewrites of a float graph before it is quantized, in their order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph
from fieldwave.quantize.canonical import canonical
from fieldwave.quantize.fold import drop_identities, fold_affine
from fieldwave.quantize.scale_shift import scale_shifts
from fieldwave.quantize.shapes import Shapes

__all__ = ["simplified"]


def simplified(graph: Graph, image: NDArray[np.float32]) -> tuple[Graph, Shapes]:
    """The float graph in the form that is quantized, and the shapes of its tensors.

    The same function but for rounding: identities are dropped, padding and norms have one spelling, batch norms
    are folded into layers or are scale-shifts.
    """
    plain = drop_identities(graph)
    shapes = Shapes(plain, image)
    folded = fold_affine(canonical(plain, shapes), shapes)
    return scale_shifts(folded, shapes), shapes
