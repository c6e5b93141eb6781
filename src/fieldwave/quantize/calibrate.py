"""Choose a power-of-two scale for each activation, by the error it makes on calibration images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import CalibrationError
from fieldwave.graph import Graph
from fieldwave.quantize.plan import Plan
from fieldwave.quantize.tensors import all_tensors

__all__ = ["Scale", "calibrate"]

Progress = Callable[[str, float], None]

_FINER = 4
"""How many scales below the one that holds the maximum are tried: each halves the step and the range."""
_SAMPLES = 1 << 15
"""Values of one tensor of one image that the error is estimated on, evenly spread."""
_SMALLEST, _LARGEST = -24, 24
"""Bounds of the exponent: products with any sensible weight scale stay normal float32 numbers."""


@dataclass(frozen=True)
class Scale:
    """``real = 2**exponent * (byte - zero_point)``; the zero point is 0, or 128 for signed values."""

    exponent: int
    zero_point: int

    @property
    def value(self) -> float:
        """The step between two neighbouring bytes."""
        return math.ldexp(1.0, self.exponent)

    def overflow(self, x: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which real values lie more than half a step outside what the bytes hold."""
        steps = x / np.float32(self.value)
        return np.asarray((steps > 255.5 - self.zero_point) | (steps < -self.zero_point - 0.5))

    def error(self, x: NDArray[np.float32]) -> float:
        """Sum of the squared errors of rounding ``x`` to these bytes and back."""
        step = np.float32(self.value)
        rounded = np.clip(np.rint(x / step), -self.zero_point, 255 - self.zero_point) * step
        return float(np.square(rounded - x, dtype=np.float64).sum())


def calibrate(
    graph: Graph, plan: Plan, images: Sequence[NDArray[np.float32]], progress: Progress
) -> dict[str, Scale]:
    """A scale for every tensor of ``plan.groups``.

    Two passes over the images: the first finds the range of each tensor, the second sums the squared error that
    each candidate scale makes. The candidates are the power of two that just holds the maximum and finer ones that
    clip; the least error wins, for all tensors of a group together.

    Args:
        images: network inputs, each [1, H, W, C].

    Raises:
        CalibrationError: a tensor is not finite on some image.
    """
    names = [name for name in graph.activations() if name in plan.groups]
    low = dict.fromkeys(names, 0.0)
    high = dict.fromkeys(names, 0.0)
    for index, tensors in enumerate(all_tensors(graph, names, images)):
        for name in names:
            least, most = float(tensors[name].min()), float(tensors[name].max())
            low[name], high[name] = min(low[name], least), max(high[name], most)
            if not math.isfinite(least + most):
                raise CalibrationError(
                    f"tensor {name!r} is not finite on calibration image {index + 1}; check the weights"
                )
        progress("calibrating: ranges", (index + 1) / len(images))

    groups = sorted(set(plan.groups.values()), key=min)
    candidates = {group: _candidates(min(low[n] for n in group), max(high[n] for n in group)) for group in groups}
    errors = {group: np.zeros(len(candidates[group])) for group in groups}
    for index, tensors in enumerate(all_tensors(graph, names, images)):
        for group in groups:
            for name in sorted(group):
                values = tensors[name].ravel()
                sample = values[:: max(1, values.size // _SAMPLES)]
                errors[group] += [candidate.error(sample) for candidate in candidates[group]]
        progress("calibrating: errors", (index + 1) / len(images))
    best = {group: candidates[group][int(np.argmin(errors[group]))] for group in groups}
    return {name: best[plan.groups[name]] for name in names}


def _candidates(low: float, high: float) -> list[Scale]:
    zero_point = 0 if low >= 0 else 128
    bound = max(high / (255 - zero_point), -low / (zero_point or 1), math.ldexp(1.0, _SMALLEST))
    coarsest = min(math.ceil(math.log2(bound)), _LARGEST)
    finest = max(coarsest - _FINER, _SMALLEST)
    return [Scale(exponent, zero_point) for exponent in range(coarsest, finest - 1, -1)]
