"""Recognise, by experiment, what a network does to its pixels before anything else."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "fit_affine", "plain"]

_TOLERANCE = 2e-6
"""Relative: a handful of float32 roundings."""
_ROUNDING = 2e-7
"""Relative: two float32 roundings."""


@dataclass(frozen=True)
class Affine:
    """``y[c] = gain[c] * pixel[source[c]] + offset[c]`` at every place of the image.

    Attributes:
        source: the input channel that each output channel is made of.
        gain, offset: one for each output channel.
    """

    source: tuple[int, ...]
    gain: tuple[float, ...]
    offset: tuple[float, ...]

    @staticmethod
    def identity(channels: int) -> Affine:
        """Nothing at all."""
        return Affine(tuple(range(channels)), (1.0,) * channels, (0.0,) * channels)

    def after(self, first: Affine) -> Affine:
        """``first``, then this."""
        return Affine(
            tuple(first.source[channel] for channel in self.source),
            tuple(gain * first.gain[channel] for gain, channel in zip(self.gain, self.source, strict=True)),
            tuple(
                gain * first.offset[channel] + offset
                for gain, offset, channel in zip(self.gain, self.offset, self.source, strict=True)
            ),
        )

    @property
    def is_identity(self) -> bool:
        """Whether it leaves every pixel as it is."""
        return self == Affine.identity(len(self.source))

    @property
    def mean(self) -> tuple[float, ...]:
        """The pixel, by output channel, that becomes 0."""
        return tuple(plain(-offset / gain) + 0.0 for gain, offset in zip(self.gain, self.offset, strict=True))


def fit_affine(
    apply: Callable[[NDArray[np.float32]], NDArray[Any]], shape: tuple[int, int, int], *, resizes: bool = False
) -> Affine | None:
    """What ``apply`` does to an image, if it is the same gain and offset at every place.

    It is shown black, one full channel after the other, and noise; the noise must come out as the fit says.

    Args:
        apply: an image [height, width, channels] of pixels from 0 to 255 to another, channels last.
        shape: of the image.
        resizes: the result may have another size; then no noise is shown.

    Returns:
        None where it is anything else.
    """
    size, channels, high = shape, shape[2], 255.0
    black = np.asarray(apply(np.zeros(size, np.float32)), np.float64)
    if black.ndim != 3 or not black.size or (black != black[0, 0]).any():
        return None
    if not resizes and black.shape[:2] != size[:2]:
        return None
    response = np.zeros((channels, black.shape[2]))
    for channel in range(channels):
        image = np.zeros(size, np.float32)
        image[..., channel] = high
        full = np.asarray(apply(image), np.float64)
        if (full != full[0, 0]).any():
            return None
        response[channel] = (full[0, 0] - black[0, 0]) / high
    source = np.abs(response).argmax(0)
    gains = np.take_along_axis(response, source[np.newaxis], 0)[0]
    others = np.abs(response).sum(0) - np.abs(gains)
    if (gains == 0).any() or (others > _TOLERANCE * np.abs(gains)).any() or not np.isfinite(response).all():
        return None
    offset = black[0, 0]
    found = Affine(
        tuple(int(channel) for channel in source),
        tuple(plain(gain) for gain in gains.tolist()),
        tuple(plain(value) for value in offset.tolist()),
    )
    if resizes:
        return found
    noise = np.random.default_rng(0).uniform(0, high, size).astype(np.float32)
    expected = noise[..., source].astype(np.float64) * found.gain + found.offset
    scale = high * np.abs(gains) + np.abs(offset)
    if (np.abs(np.asarray(apply(noise), np.float64) - expected) > 4 * _TOLERANCE * scale).any():
        return None
    return found


def plain(value: float) -> float:
    """The shortest number within a few float32 roundings: 123.68 for 123.68000030, 1/255 for 0.0039215688."""
    if value == 0 or not math.isfinite(value):
        return value
    for digits in range(1, 8):
        for candidate in (value, 1 / value):
            short = float(f"{candidate:.{digits}g}")
            if abs(short - candidate) <= _ROUNDING * abs(candidate):
                return short if candidate == value else 1 / short
    return value
