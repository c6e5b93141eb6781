"""Float against int8: how much each layer loses, and whether the answers stay the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.graph import Graph
from fieldwave.quantize.calibrate import Progress, Scale
from fieldwave.quantize.emit import quantized_name
from fieldwave.quantize.tensors import Watched

__all__ = ["LayerError", "Report", "compare"]

_SAMPLES = 1 << 15
"""Values of one tensor of one image that the error of its own rounding is estimated on, evenly spread."""


@dataclass(frozen=True)
class LayerError:
    """One quantized tensor.

    Attributes:
        tensor: name in the float graph.
        operator: what makes it, as ONNX calls it.
        exponent: of its scale, a power of two but for tensors that came quantized from elsewhere.
        zero_point: 0, or 128 for signed values.
        snr: signal-to-noise ratio of the int8 network's values against the float network's, in dB.
        rounding: the same if nothing but this tensor were rounded and clipped.
        clipped: share of the float values that the bytes cannot hold.
        used: largest value in magnitude, as a share of what the bytes can hold.
        spread: size (root mean square) of the largest channel over that of the median one.
    """

    tensor: str
    operator: str
    exponent: int
    zero_point: int
    snr: float
    rounding: float
    clipped: float
    used: float
    spread: float

    @property
    def reason(self) -> str:
        """What makes its error, and what to try, in one line."""
        if self.clipped > 1e-3:
            return f"{self.clipped:.1%} of its values are clipped: calibrate by minmax, or with more images"
        if self.rounding - self.snr > 6:
            return f"made before it: its own bytes alone would leave {self.rounding:.0f} dB"
        if self.used < 0.25:
            return (
                f"its values reach {self.used:.0%} of the bytes' range: calibrate with images that are more alike"
            )
        if self.spread > 8:
            return f"its largest channel is {self.spread:.0f} times the median one: try equalisation"
        return "rounding to eight bits"


@dataclass(frozen=True)
class Report:
    """Float against int8 over a set of images.

    Attributes:
        images: how many were compared.
        layers: one line for each quantized tensor, in the order of computation.
        agreement: share of the images whose largest output is the same, or None where the output is no score.
        float_accuracy: share of the images that the float network labels right, or None without labels.
        int8_accuracy: the same for the int8 network.
        notes: what had to change in a network that came quantized, one line for each tensor.
    """

    images: int
    layers: tuple[LayerError, ...]
    agreement: float | None
    float_accuracy: float | None
    int8_accuracy: float | None
    notes: tuple[str, ...] = ()

    def worst(self, count: int = 5) -> tuple[LayerError, ...]:
        """The tensors with the lowest signal-to-noise ratio."""
        return tuple(sorted(self.layers, key=lambda layer: layer.snr)[:count])

    def table(self) -> str:
        """Every tensor on a line, in the order of computation: dB in all and by its own rounding, why, name."""
        head = f"{'dB':>6} {'alone':>6} {'clipped':>8} {'used':>5} {'spread':>6}  scale  operator, tensor"
        lines = [
            f"{layer.snr:6.1f} {layer.rounding:6.1f} {layer.clipped:8.3%} {layer.used:5.0%} {layer.spread:6.1f}  "
            f"2^{layer.exponent:<3}  {layer.operator} {layer.tensor}"
            for layer in self.layers
        ]
        return "\n".join([head, *lines])

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what a reader compares."""
        layers = [
            {
                name: float(f"{value:.4g}") if isinstance(value, float) else value
                for name, value in asdict(layer).items()
            }
            for layer in self.layers
        ]
        return {**asdict(self), "layers": layers}


def compare(
    source: Graph,
    quantized: Graph,
    scales: Mapping[str, Scale],
    images: Sequence[NDArray[np.float32]],
    labels: Sequence[int] | None,
    progress: Progress,
    notes: tuple[str, ...] = (),
) -> Report:
    """Run both networks on the images and set their tensors side by side.

    Args:
        source: the float graph that was quantized (batch norms folded).
        images: each is asked for once, and forgotten.
        labels: the right class of each image, where it is known.
    """
    made = set(quantized.activations())
    names = [name for name in source.activations() if name in scales and quantized_name(name) in made]
    output = source.outputs[0].name
    scores = {output} & set(quantized.producers())
    sums = {name: _Sums(scales[name]) for name in names}
    answers: list[tuple[int, int]] = []
    floats = Watched(source, [*names, *(scores - set(names))])
    integers = Watched(quantized, [*map(quantized_name, names), *scores])
    for index, image in enumerate(images):
        real, ours = floats.run(image), integers.run(image)
        for name in names:
            sums[name].add(real[name], ours[quantized_name(name)])
        if scores and real[output].ndim == 2:
            answers.append((int(real[output].argmax()), int(ours[output].argmax())))
        progress("comparing float and int8", (index + 1) / len(images))
    operators = {name: node.op for name, node in source.producers().items()}
    layers = tuple(sums[name].layer(name, operators.get(name, "input")) for name in names)
    agreement = _share([one == other for one, other in answers]) if answers else None
    pairs = list(zip(answers, labels, strict=True)) if labels is not None and answers else None
    return Report(
        images=len(images),
        layers=layers,
        agreement=agreement,
        float_accuracy=_share([one == label for (one, _), label in pairs]) if pairs else None,
        int8_accuracy=_share([other == label for (_, other), label in pairs]) if pairs else None,
        notes=notes,
    )


class _Sums:
    """What is summed of one tensor over the images."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.signal = self.noise = self.alone = 0.0
        self.clipped = self.size = 0
        self.low = self.high = 0.0
        self.square: NDArray[np.float64] | float = 0.0

    def add(self, real: NDArray[np.float32], ours: NDArray[np.uint8]) -> None:
        step, zero = np.float32(self.scale.value), self.scale.zero_point
        steps = real * (1 / step)
        low, high = float(steps.min()), float(steps.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if low < -zero - 0.5 or high > 255.5 - zero:
            self.clipped += int(((steps < -zero - 0.5) | (steps > 255.5 - zero)).sum())
        sample = steps.ravel()[:: max(1, steps.size // _SAMPLES)]
        rounded = np.clip(np.rint(sample), -zero, 255 - zero)
        self.alone += float(np.square(rounded - sample).mean(dtype=np.float64)) * steps.size
        flat = steps.reshape(steps.shape[1] if steps.ndim > 1 else 1, -1)
        square = np.einsum("cp,cp->c", flat, flat).astype(np.float64)
        self.square = self.square + square
        self.signal += float(square.sum())
        steps -= ours
        steps += zero
        self.noise += float(np.vdot(steps, steps))
        self.size += steps.size

    def layer(self, name: str, operator: str) -> LayerError:
        zero = self.scale.zero_point
        sizes = np.sqrt(self.square)
        middle = float(np.median(sizes))
        return LayerError(
            tensor=name,
            operator=operator,
            exponent=self.scale.exponent,
            zero_point=zero,
            snr=_decibel(self.signal, self.noise),
            rounding=_decibel(self.signal, self.alone),
            clipped=self.clipped / self.size,
            used=max(self.high / (255 - zero), -self.low / (zero or 1)),
            spread=float(sizes.max()) / middle if middle > 0 else 1.0,
        )


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return 200.0
    return 10 * math.log10(signal / noise) if signal > 0 else -200.0


def _share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)
