"""TensorFlow 1's legacy bilinear resize, and the part of it that a crop keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fieldwave.preprocess.spec import Preprocessing

__all__ = ["resize", "resized_size"]

# Output rows computed at once. A whole image at once takes twice as long: its temporary arrays leave the
# cache, and the allocator hands them back to the kernel after every image.
_BLOCK = 16


def resize(pixels: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """Resize an image to the input of a network, and put its channels in the network's order.

    The kernel is ``tf.compat.v1.image.resize_bilinear(align_corners=False)``: the source of output pixel i is
    i * (in / out), without half-pixel centres and without antialiasing; first along x, then along y, every
    step rounded to float32. Output pixels outside of the crop are never computed, which changes none inside.

    Args:
        pixels: [height, width, channels], C-contiguous, R, G, B.
        spec: of the network.

    Returns:
        [spec.height, spec.width, channels] in the range 0 to 255.
    """
    height, width, channels = pixels.shape
    plan = _plan(height, width, channels, spec)
    source = pixels.reshape(height, width * channels)
    result = np.empty((spec.height, spec.width * channels), np.float32)
    for first, (rows, above, below, weight) in zip(range(0, spec.height, _BLOCK), plan.blocks, strict=True):
        # Each source row is interpolated along x once, however many output rows it takes part in.
        lines = source.take(rows, axis=0, mode="clip")
        low, high = lines.take(plan.left, axis=1, mode="clip"), lines.take(plan.right, axis=1, mode="clip")
        at_x = _interpolate(low, high, plan.weight)
        result[first : first + _BLOCK] = _interpolate(at_x.take(above, axis=0), at_x.take(below, axis=0), weight)
    return result.reshape(spec.height, spec.width, channels)


def resized_size(height: int, width: int, spec: Preprocessing) -> tuple[int, int]:
    """The size of the whole image after the resize: at least that of the network's input."""
    if spec.resize == "stretch":
        return spec.height, spec.width
    shortest = min(height, width)
    covering = max(-(-spec.height * shortest // height), -(-spec.width * shortest // width))
    side = max(spec.shortest_side, covering)
    while True:
        # float32 and truncation as in the reference, so the result may be one pixel short of the exact one.
        scale = np.float32(side) / np.float32(shortest)
        resized_height, resized_width = int(np.float32(height) * scale), int(np.float32(width) * scale)
        if resized_height >= spec.height and resized_width >= spec.width:
            return resized_height, resized_width
        side += 1


@dataclass(frozen=True)
class _Plan:
    """What images of one size have in common.

    Attributes:
        left, right: of each element of an output row, the two elements of a source row; weight: of the right one.
        blocks: of so many output rows each, the source rows that take part; which of these are above and below
            each output row; and the weight of those below.
    """

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    weight: NDArray[np.float32]
    blocks: tuple[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]], ...]


@lru_cache(maxsize=64)
def _plan(height: int, width: int, channels: int, spec: Preprocessing) -> _Plan:
    """As cameras send image after image of one size; to find it takes a fifth of the time."""
    resized_height, resized_width = resized_size(height, width, spec)
    y = _taps(height, resized_height, spec.height)
    x = _taps(width, resized_width, spec.width)
    order = np.arange(channels)[::-1] if spec.order == "BGR" else np.arange(channels)
    blocks = []
    for first in range(0, spec.height, _BLOCK):
        block = slice(first, first + _BLOCK)
        rows, positions = np.unique([y.lower[block], y.upper[block]], return_inverse=True)
        above, below = positions.reshape(2, -1)  # numpy 1 flattens them
        blocks.append((rows, above, below, y.weight[block, np.newaxis]))
    return _Plan(
        _elements(x.lower, order), _elements(x.upper, order), np.repeat(x.weight, channels), tuple(blocks)
    )


@dataclass(frozen=True)
class _Taps:
    """For each output position along one axis: the two source positions, and the weight of the upper one."""

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float32]


def _taps(source: int, resized: int, kept: int) -> _Taps:
    """The taps of the central ``kept`` of ``resized`` positions."""
    first = (resized - kept) // 2
    at = np.arange(first, first + kept).astype(np.float32) * (np.float32(source) / np.float32(resized))
    floor = np.floor(at)
    last = source - 1
    return _Taps(
        lower=np.minimum(floor.astype(np.intp), last),
        upper=np.minimum(np.ceil(at).astype(np.intp), last),
        weight=at - floor,
    )


def _elements(columns: NDArray[np.intp], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices into a row of interleaved pixels: every channel of every column."""
    return (columns[:, np.newaxis] * order.size + order).ravel()


def _interpolate(
    low: NDArray[np.uint8] | NDArray[np.float32],
    high: NDArray[np.uint8] | NDArray[np.float32],
    weight: NDArray[np.float32],
) -> NDArray[np.float32]:
    """low + (high - low) * weight in float32; the arguments may be overwritten."""
    start = low.astype(np.float32, copy=False)
    result = high.astype(np.float32, copy=False)
    result -= start
    result *= weight
    result += start
    return result
