"""Choose a power-of-two scale for each activation from what calibration images make of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import CalibrationError
from fieldwave.graph import Graph
from fieldwave.quantize.options import Options
from fieldwave.quantize.plan import Plan
from fieldwave.quantize.tensors import all_tensors

__all__ = ["Observed", "Scale", "calibrate", "observe"]

Progress = Callable[[str, float], None]

_FINER = 4
"""How many scales below the one that holds the maximum are tried: each halves the step and the range."""
_SAMPLES = 1 << 15
"""Values of one tensor of one image that the error is estimated on, evenly spread."""
_SMALLEST, _LARGEST = -24, 24
"""Bounds of the exponent: products with any sensible weight scale stay normal float32 numbers."""
_BINS = 4096
"""Of a histogram from the least to the largest value."""


@dataclass(frozen=True)
class Scale:
    """``real = mantissa * 2**exponent * (byte - zero_point)``; the zero point is 0, or 128 for signed values.

    The mantissa is 1 but for tensors that came quantized from elsewhere, and that no operator needs a power of two
    of; then it is 1 to 2.
    """

    exponent: int
    zero_point: int
    mantissa: float = 1.0

    @property
    def value(self) -> float:
        """The step between two neighbouring bytes."""
        return math.ldexp(self.mantissa, self.exponent)


@dataclass
class Observed:
    """What one tensor is on the calibration images, channel by channel (axis 1).

    Attributes:
        low, high: least and largest value, at most and at least 0.
        mean, square: mean of the values and of their squares.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    square: NDArray[np.float64]

    def divided(self, factors: NDArray[np.float64]) -> Observed:
        """The same for the tensor with its channels divided by positive factors."""
        return Observed(self.low / factors, self.high / factors, self.mean / factors, self.square / factors**2)


def observe(
    graph: Graph, plan: Plan, images: Sequence[NDArray[np.float32]], progress: Progress
) -> dict[str, Observed]:
    """Run the images through the float network and note what each tensor of ``plan.groups`` holds.

    Args:
        images: network inputs, each [1, H, W, C].

    Raises:
        CalibrationError: a tensor is not finite on some image, or no image shows anything.
    """
    if all(_is_one_colour(image) for image in images):
        raise CalibrationError(
            f"input {graph.inputs[0].name!r}: every calibration image is of one colour throughout, which tells no "
            "scale; give 16 or more like those that the service will see"
        )
    names = [name for name in graph.activations() if name in plan.groups]
    found: dict[str, Observed] = {}
    for index, tensors in enumerate(all_tensors(graph, names, images)):
        for name in names:
            now = _observed(tensors[name])
            if not np.isfinite(now.low + now.high).all():
                raise CalibrationError(
                    f"tensor {name!r} is not finite on calibration image {index + 1}; check the weights"
                )
            if name in found:
                found[name].low = np.minimum(found[name].low, now.low)
                found[name].high = np.maximum(found[name].high, now.high)
                found[name].mean += (now.mean - found[name].mean) / (index + 1)
                found[name].square += (now.square - found[name].square) / (index + 1)
            else:
                found[name] = now
        progress("calibrating: ranges", (index + 1) / len(images))
    return found


def calibrate(
    graph: Graph,
    plan: Plan,
    observed: Mapping[str, Observed],
    images: Sequence[NDArray[np.float32]],
    options: Options,
    progress: Progress,
    free: frozenset[str] = frozenset(),
) -> tuple[dict[str, Scale], dict[str, float]]:
    """A scale for every tensor of ``plan.groups``; all tensors of a group together get the best one.

    Args:
        observed: of these images, by `observe`.
        images: network inputs, each [1, H, W, C].
        free: tensors that can be multiplied by any factor, so that steps between two powers of two are tried.

    Returns:
        The scales, and for each free tensor the factor to divide it by, 1 to 2: its best step then is the scale.
    """
    groups = sorted(set(plan.groups.values()), key=min)
    errors: dict[frozenset[str], NDArray[np.float64]] = {}
    candidates: dict[frozenset[str], list[tuple[float, int]]] = {}
    for group in groups:
        low, high = (
            min(observed[name].low.min() for name in group),
            max(observed[name].high.max() for name in group),
        )
        finer = 4 if group & free else 1
        candidates[group] = _candidates(float(low), float(high), options, finer)
        errors[group] = np.zeros(len(candidates[group]))
    histograms = {name: np.zeros(_BINS) for name in observed} if options.method == "percentile" else {}
    passes = () if options.method == "minmax" else all_tensors(graph, list(observed), images)
    for index, tensors in enumerate(passes):
        for group in groups:
            here = np.zeros(len(candidates[group]))
            for name in sorted(group):
                if options.method == "percentile":
                    edges = float(observed[name].low.min()), float(observed[name].high.max())
                    histograms[name] += np.histogram(
                        tensors[name], _BINS, edges if edges[1] > edges[0] else (0, 1)
                    )[0]
                    continue
                values = tensors[name].ravel()
                sample = values[:: max(1, values.size // _SAMPLES)]
                here += [_error(sample, *candidate) for candidate in candidates[group]]
            # Of the images, the worst counts: what clips one of a few will clip others to come.
            errors[group] = np.maximum(errors[group], here)
        progress(f"calibrating: {options.method}", (index + 1) / len(images))
    scales: dict[str, Scale] = {}
    factors: dict[str, float] = {}
    for group in groups:
        if options.method == "percentile":
            low, high = _percentile(group, observed, histograms, options.percentile)
            zero = candidates[group][0][1]
            step = _candidates(low, high, Options("minmax"), 4 if group & free else 1, zero)[0][0]
        else:
            step, zero = candidates[group][int(np.argmin(errors[group]))]
        exponent = min(math.ceil(math.log2(step) - 1e-9), _LARGEST)
        scales.update(dict.fromkeys(group, Scale(exponent, zero)))
        if group & free:
            factors.update(dict.fromkeys(group & free, step / math.ldexp(1.0, exponent)))
    return scales, factors


def _is_one_colour(image: NDArray[np.float32]) -> bool:
    """Whether all pixels of an image are alike, channels last or first."""
    if image.ndim != 4 or max(image.shape[1:]) == 1:
        return False
    return bool(np.all(image == image[:, :1, :1, :]) or np.all(image == image[:, :, :1, :1]))


def _observed(x: NDArray[np.float32]) -> Observed:
    # A tensor without channels counts as one channel.
    flat = x.reshape(x.shape[1], -1) if x.ndim > 1 and x.shape[0] == 1 else x.reshape(1, -1)
    low, high = np.minimum(flat.min(1), 0).astype(np.float64), np.maximum(flat.max(1), 0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = flat.mean(1, dtype=np.float64)
        square = np.einsum("cp,cp->c", flat, flat).astype(np.float64) / flat.shape[1]
    return Observed(low, high, mean, square)


def _candidates(
    low: float, high: float, options: Options, finer: int, zero_point: int | None = None
) -> list[tuple[float, int]]:
    """Steps and their zero point: the coarsest just holds the range, the others clip."""
    if zero_point is None:
        zero_point = 0 if low >= 0 else 128
    bound = max(high / (255 - zero_point), -low / (zero_point or 1), math.ldexp(1.0, _SMALLEST))
    coarsest = min(math.ceil(math.log2(bound) * finer - 1e-9), _LARGEST * finer)
    finest = max(coarsest - _FINER * finer, _SMALLEST * finer) if options.method == "error" else coarsest
    return [(2.0 ** (index / finer), zero_point) for index in range(coarsest, finest - 1, -1)]


def _error(x: NDArray[np.float32], step: float, zero_point: int) -> float:
    """Sum of the squared errors of rounding ``x`` to bytes and back."""
    size = np.float32(step)
    rounded = x / size
    np.rint(rounded, out=rounded)
    np.clip(rounded, -zero_point, 255 - zero_point, out=rounded)
    rounded *= size
    rounded -= x
    return float(np.square(rounded, dtype=np.float64).sum())


def _percentile(
    group: frozenset[str],
    observed: Mapping[str, Observed],
    histograms: Mapping[str, NDArray[np.float64]],
    percentile: float,
) -> tuple[float, float]:
    """The bounds that no more values of any tensor of the group exceed than the percentile allows."""
    low, high = 0.0, 0.0
    for name in group:
        first, last = float(observed[name].low.min()), float(observed[name].high.max())
        share = np.cumsum(histograms[name]) / max(histograms[name].sum(), 1)
        edges = np.linspace(first, last, _BINS + 1)
        allowed = 1 - percentile / 100
        below = int(np.searchsorted(share, allowed, "right")) if allowed else 0
        above = min(int(np.searchsorted(share, 1 - allowed, "left")) + 1, _BINS)
        low, high = min(low, float(edges[below])), max(high, float(edges[above]))
    return low, high
