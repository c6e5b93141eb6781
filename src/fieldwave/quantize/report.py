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
from fieldwave.quantize.tensors import all_tensors

__all__ = ["LayerError", "Report", "compare"]


@dataclass(frozen=True)
class LayerError:
    """One quantized tensor.

    Attributes:
        tensor: name in the float graph.
        exponent: of its power-of-two scale.
        zero_point: 0, or 128 for signed values.
        snr: signal-to-noise ratio of the int8 network's values against the float network's, in dB.
        clipped: share of the float values that the bytes cannot hold.
    """

    tensor: str
    exponent: int
    zero_point: int
    snr: float
    clipped: float


@dataclass(frozen=True)
class Report:
    """Float against int8 over a set of images.

    Attributes:
        images: how many were compared.
        layers: one line for each quantized tensor, in the order of computation.
        agreement: share of the images whose largest output is the same, or None where the output is no score.
        float_accuracy: share of the images that the float network labels right, or None without labels.
        int8_accuracy: the same for the int8 network.
    """

    images: int
    layers: tuple[LayerError, ...]
    agreement: float | None
    float_accuracy: float | None
    int8_accuracy: float | None

    def worst(self, count: int = 5) -> tuple[LayerError, ...]:
        """The tensors with the lowest signal-to-noise ratio."""
        return tuple(sorted(self.layers, key=lambda layer: layer.snr)[:count])

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what a reader compares."""
        layers = [
            {**asdict(layer), "snr": round(layer.snr, 2), "clipped": round(layer.clipped, 6)}
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
) -> Report:
    """Run both networks on the images and set their tensors side by side.

    Args:
        source: the float graph that was quantized (batch norms folded).
        labels: the right class of each image, where it is known.
    """
    made = set(quantized.activations())
    names = [name for name in source.activations() if name in scales and quantized_name(name) in made]
    output = source.outputs[0].name
    scores = {output} & set(quantized.producers())
    signal = dict.fromkeys(names, 0.0)
    noise = dict.fromkeys(names, 0.0)
    clipped, sizes = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    answers: list[tuple[int, int]] = []
    floats = all_tensors(source, [*names, *(scores - set(names))], images)
    integers = all_tensors(quantized, [*map(quantized_name, names), *scores], images)
    for index, (real, ours) in enumerate(zip(floats, integers, strict=True)):
        for name in names:
            scale, values = scales[name], real[name]
            found = (ours[quantized_name(name)].astype(np.float32) - scale.zero_point) * np.float32(scale.value)
            signal[name] += float(np.vdot(values, values))
            noise[name] += float(np.square(found - values).sum())
            clipped[name] += int(scale.overflow(values).sum())
            sizes[name] += values.size
        if scores and real[output].ndim == 2:
            answers.append((int(real[output].argmax()), int(ours[output].argmax())))
        progress("comparing float and int8", (index + 1) / len(images))
    layers = tuple(
        LayerError(
            tensor=name,
            exponent=scales[name].exponent,
            zero_point=scales[name].zero_point,
            snr=_decibel(signal[name], noise[name]),
            clipped=clipped[name] / sizes[name],
        )
        for name in names
    )
    agreement = _share([one == other for one, other in answers]) if answers else None
    pairs = list(zip(answers, labels, strict=True)) if labels is not None and answers else None
    return Report(
        images=len(images),
        layers=layers,
        agreement=agreement,
        float_accuracy=_share([one == label for (one, _), label in pairs]) if pairs else None,
        int8_accuracy=_share([other == label for (_, other), label in pairs]) if pairs else None,
    )


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return 200.0
    return 10 * math.log10(signal / noise) if signal > 0 else -200.0


def _share(hits: list[bool]) -> float:
    return sum(hits) / len(hits)
