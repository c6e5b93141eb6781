"""The first layer: three channels would leave most input lanes idle, so the kernel's columns are folded into them.

A convolution of width ``kw`` over C channels becomes one of width 1 over ``kw * C``: the pixel of output column
x holds the input columns that its window covers, side by side. The host lays the input out when it hands it over::

    folded[y, x, kx * C + c] = input[y, x * stride + kx * dilation - left, c]      # or the zero point, outside

A 7 x 7 convolution with stride 2 over an RGB image takes 7 steps on 32 lanes instead of 49, and no more memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import FeatureMap, Join, Operation
from fieldwave.golden import Window
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Fold", "fold_first_layers", "folded_map"]

MOST_GROWTH = 2
"""How many times the memory of the plain input a folded one may take."""


@dataclass(frozen=True)
class Fold:
    """How a pixel of a folded tensor is made.

    ``taps`` input columns, ``dilation`` apart, ``stride`` from pixel to pixel.

    Attributes:
        left: columns of padding before the first.
        width: pixels in a row of the folded tensor.
        value: what padding reads as, 0 to 255.
    """

    taps: int
    stride: int
    dilation: int
    left: int
    width: int
    value: int

    def columns(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Fold [height, width, channels] to [height, folded width, taps * channels]."""
        reach = (self.width - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        right = max(0, reach - self.left - pixels.shape[1])
        padded = np.pad(pixels, ((0, 0), (self.left, right), (0, 0)), constant_values=self.value)
        last = (self.width - 1) * self.stride + 1
        starts = range(0, self.taps * self.dilation, self.dilation)
        return np.concatenate([padded[:, start : start + last : self.stride] for start in starts], 2)


def fold_first_layers(
    steps: Sequence[Operation | Join],
    inputs: Sequence[str],
    kept: Collection[str],
    maps: Mapping[str, FeatureMap],
    configuration: Configuration,
) -> tuple[tuple[Operation | Join, ...], dict[str, Fold]]:
    """Fold where a convolution alone reads a tensor from outside, and takes fewer steps for it.

    Args:
        inputs: tensors that the host hands over.
        kept: tensors that others read.

    Returns:
        The steps, and for each input that they now read folded, how; it keeps its name.
    """
    folds: dict[str, Fold] = {}
    result: list[Operation | Join] = []
    readers = [name for step in steps for name in (step.reads if isinstance(step, Operation) else step.inputs)]
    for step in steps:
        if isinstance(step, Operation) and step.input in inputs and readers.count(step.input) == 1:
            found = None if step.input in kept else _fold(step, maps[step.input], maps[step.output], configuration)
            if found is not None:
                folds[step.input] = found
                step = _over_columns(step, found)
        result.append(step)
    return tuple(result), folds


def folded_map(size: FeatureMap, fold: Fold) -> FeatureMap:
    """The size of a folded tensor."""
    return FeatureMap(size.height, fold.width, fold.taps * size.channels)


def _fold(
    operation: Operation, source: FeatureMap, result: FeatureMap, configuration: Configuration
) -> Fold | None:
    """The fold of an operation's input, if it pays."""
    window, lanes = operation.window, configuration.input_lanes
    taps = window.kernel[1]
    if operation.opcode != Opcode.CONV or operation.group != 1 or taps == 1 or source.width == 1:
        return None
    plain, folded = -(-source.channels // lanes), -(-source.channels * taps // lanes)
    if folded >= taps * plain or result.width * folded > MOST_GROWTH * source.width * plain:
        return None
    room = min(configuration.bank_bytes) // lanes
    if source.height * source.width * plain <= room < source.height * result.width * folded:
        return None  # it would have to be cut into strips, and may not fit even so
    return Fold(taps, window.strides[1], window.dilations[1], window.pads[1], result.width, operation.input_zero)


def _over_columns(operation: Operation, fold: Fold) -> Operation:
    window, weights = operation.window, operation.weights
    assert weights is not None
    maps, channels, height, width = weights.shape
    above, _, below, _ = window.pads
    return replace(
        operation,
        window=Window((height, 1), (window.strides[0], 1), (above, 0, below, 0), (window.dilations[0], 1)),
        weights=weights.transpose(0, 3, 1, 2).reshape(maps, width * channels, height, 1),
    )
