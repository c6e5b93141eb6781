"""The first layer: three channels would leave most input lanes idle, so the kernel's taps are folded into them.

A convolution over C channels whose window has ``kh x kw`` taps becomes one with fewer taps over more channels: its
columns side by side (``kh`` taps over ``kw * C``), all taps (one over ``kh * kw * C``), or groups of its rows. The
host lays the input out when it hands it over::

    folded[y, x, (ky * kw + kx) * C + c] = input[y * stride + ky * dilation - above, x * stride + ..., c]

or the zero point, outside. A 7 x 7 convolution over an RGB image takes 3 steps on 64 lanes instead of 49: all
taps are 147 channels, three rows of them 63. A fold over all taps holds every pixel many times, so it is more to
load: what costs least is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import FeatureMap, Join, Operation
from fieldwave.golden import Window
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Fold", "fold_first_layers", "folded_map"]

MEMORY_SHARE = 0.75
"""Part of the port's width that memory is expected to deliver, for weighing loads against cycles of the array."""


HIDDEN = 0.05
"""What a load costs that overlaps with the array: of the time that it takes."""


@dataclass(frozen=True)
class Fold:
    """How a pixel of a folded tensor is made, rows first in every pair.

    Attributes:
        taps: input rows and columns in a pixel.
        strides: input pixels from one folded pixel to the next.
        dilations: input pixels between taps.
        before: rows and columns of padding before the first.
        size: height and width of the folded tensor.
        value: what padding reads as, 0 to 255.
    """

    taps: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]
    size: tuple[int, int]
    value: int

    def write(self, pixels: NDArray[np.uint8], memory: NDArray[np.uint8], row_step: int, pixel_step: int) -> None:
        """Fold uint8 [height, width, channels] into contiguous bytes, steps in bytes; what is between stays."""
        channels = pixels.shape[2]
        padded = self._padded(pixels)
        row, column = padded.strides[:2]
        (step_y, step_x), (dilation_y, dilation_x) = self.strides, self.dilations
        # One element is all that lies side by side in the image.
        together = self.taps[1] if dilation_x == 1 else 1
        element = np.dtype(f"V{together * channels}")
        for ky in range(self.taps[0]):
            for kx in range(0, self.taps[1], together):
                first = ky * dilation_y * row + kx * dilation_x * column
                place = (ky * self.taps[1] + kx) * channels
                steps = step_y * row, step_x * column
                source = np.ndarray(self.size, element, padded.data, first, steps)
                np.ndarray(self.size, element, memory.data, place, (row_step, pixel_step))[...] = source

    def folded(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The folded tensor, [height, width, taps * channels], by itself."""
        depth = self.taps[0] * self.taps[1] * pixels.shape[2]
        result = np.empty((*self.size, depth), np.uint8)
        self.write(pixels, result.reshape(-1), self.size[1] * depth, depth)
        return result

    def _padded(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of the image that the windows cover, with its padding."""
        extent = [
            (size - 1) * stride + (taps - 1) * dilation + 1
            for size, stride, taps, dilation in zip(
                self.size, self.strides, self.taps, self.dilations, strict=True
            )
        ]
        padded = np.full((*extent, pixels.shape[2]), self.value, np.uint8)
        inside = padded[self.before[0] :, self.before[1] :]
        height, width = min(inside.shape[0], pixels.shape[0]), min(inside.shape[1], pixels.shape[1])
        inside[:height, :width] = pixels[:height, :width]
        return padded


def fold_first_layers(
    steps: Sequence[Operation | Join],
    inputs: Sequence[str],
    kept: Collection[str],
    maps: Mapping[str, FeatureMap],
    configuration: Configuration,
) -> tuple[tuple[Operation | Join, ...], dict[str, Fold]]:
    """Fold where a convolution alone reads a tensor from outside, and it pays.

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
            results = maps[step.output] if step.pool is None else step.pool.source
            found = None if step.input in kept else _fold(step, maps[step.input], results, configuration)
            if found is not None:
                folds[step.input] = found
                step = _folded_operation(step, found)
        result.append(step)
    return tuple(result), folds


def folded_map(size: FeatureMap, fold: Fold) -> FeatureMap:
    """The size of a folded tensor."""
    return FeatureMap(*fold.size, fold.taps[0] * fold.taps[1] * size.channels)


def _fold(
    operation: Operation, source: FeatureMap, result: FeatureMap, configuration: Configuration
) -> Fold | None:
    """The fold of an operation's input that costs least, or None where that is none."""
    if operation.opcode != Opcode.CONV or operation.group != 1 or operation.prescale is not None:
        return None
    room = min(configuration.bank_words) // 2  # of it one row at least is loaded while another is used
    best: Fold | None = None
    least = _cost(operation, source, result, configuration)
    for fold in _candidates(operation, source, result):
        size = folded_map(source, fold)
        folded = _folded_operation(operation, fold)
        rows = folded.window.reach(0)
        cost = _cost(folded, size, result, configuration)
        if cost < least and rows * size.width * _words(size, configuration) <= room:
            best, least = fold, cost
    return best


def _candidates(operation: Operation, source: FeatureMap, result: FeatureMap) -> Iterator[Fold]:
    """Columns, then also groups of rows, then all rows."""
    window, zero = operation.window, operation.input_zero
    (rows, columns), (above, left) = window.kernel, window.pads[:2]
    strides, dilations = _pair(window.strides), _pair(window.dilations)
    if columns > 1:
        size = source.height, result.width
        yield Fold((1, columns), (1, strides[1]), (1, dilations[1]), (0, left), size, zero)
    for group in range(2, rows):
        step = math.gcd(strides[0], group * dilations[0])
        reach = (result.height - 1) * strides[0] + (-(-rows // group) - 1) * group * dilations[0]
        size = reach // step + 1, result.width
        yield Fold((group, columns), (step, strides[1]), dilations, (above, left), size, zero)
    if rows > 1:
        yield Fold((rows, columns), strides, dilations, (above, left), (result.height, result.width), zero)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    rows, columns = values
    return rows, columns


def _cost(operation: Operation, source: FeatureMap, result: FeatureMap, configuration: Configuration) -> float:
    """Cycles of the array, or of the load where that takes longer; of two that take as long, the smaller load."""
    words = _words(source, configuration)
    taps = operation.window.kernel[0] * operation.window.kernel[1]
    tiles = -(-result.channels // configuration.output_lanes)
    beats = words * configuration.input_lanes / (configuration.port_bytes * MEMORY_SHARE)
    load = source.pixels * max(beats, words / configuration.pixel_lanes)
    return max(result.pixels * taps * words * tiles / configuration.pixel_lanes, load) + load * HIDDEN


def _words(size: FeatureMap, configuration: Configuration) -> int:
    return -(-size.channels // configuration.input_lanes)


def _folded_operation(operation: Operation, fold: Fold) -> Operation:
    window, weights = operation.window, operation.weights
    assert weights is not None
    maps, channels, height = weights.shape[:3]
    above, _, below, _ = window.pads
    groups = -(-height // fold.taps[0])
    if fold.taps[0] == 1:
        left = Window((height, 1), (window.strides[0], 1), (above, 0, below, 0), (window.dilations[0], 1))
    elif groups == 1:
        left = Window((1, 1))
    else:
        stride, dilation = window.strides[0], fold.taps[0] * window.dilations[0]
        left = Window((groups, 1), (stride // fold.strides[0], 1), dilations=(dilation // fold.strides[0], 1))
    depth = fold.taps[0] * fold.taps[1] * channels
    spare = groups * fold.taps[0] - height  # rows of the last group that the kernel does not have
    filled = np.pad(weights, ((0, 0), (0, 0), (0, spare), (0, 0)))
    return replace(
        operation,
        window=left,
        weights=filled.reshape(maps, channels, *left.kernel, *fold.taps)
        .transpose(0, 4, 5, 1, 2, 3)
        .reshape(maps, depth, *left.kernel),
        macs=weights.size,
    )
