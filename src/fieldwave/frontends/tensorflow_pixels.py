"""What the part of a TensorFlow graph in front of the network does to an image file, found by experiment.

It is shown small PNG files: plain colours tell the mean, the order and the scale; ramps tell to what size images
are brought before the crop; noise tells whether Fieldwave's own preprocessing gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.frontends.affine import Affine, fit_affine
from fieldwave.frontends.preprocessing import Geometry
from fieldwave.preprocess import Preprocessing, preprocess

__all__ = ["Recognised", "recognise"]

_LEVELS_LIKE_OURS = 1e-3
"""Levels of 255 that two float32 orders of summation may lie apart."""
_OTHER_KERNEL = 12.0
"""Levels of 255: up to here another way to resize explains the mean difference on smooth images."""


@dataclass(frozen=True)
class Recognised:
    """The preparation of the image, in Fieldwave's terms.

    Attributes:
        affine: from pixels, in the order R, G, B, to the network's input.
        geometry: how images are brought to its size.
        size: height and width of the network's input.
        difference: mean distance of Fieldwave's preprocessing on smooth images, in levels of 255; 0 where noise
            comes out the same.
    """

    affine: Affine
    geometry: Geometry
    size: tuple[int, int]
    difference: float


def recognise(apply: Callable[[bytes], NDArray[Any]]) -> Recognised | None:
    """Find what ``apply`` does; None where it is nothing that a Preprocessing can say.

    Args:
        apply: the bytes of a PNG file to the network's input [height, width, channels].
    """
    sample = np.asarray(apply(_png(np.zeros((64, 64, 3)))))
    if sample.ndim != 3 or sample.shape[2] not in (1, 3):
        return None
    height, width, channels = sample.shape

    def colours(image: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(apply(_png(image)))

    affine = fit_affine(colours, (64, 64, channels), resizes=True)
    if affine is None or affine.source not in ((0,), (0, 1, 2), (2, 1, 0)):
        return None

    def pixels(image: NDArray[Any]) -> NDArray[np.float64]:
        """Brought to the network's size, in the range of the pixels again, one channel."""
        values = np.asarray(apply(_png(image)), np.float64)[..., 0]
        return np.asarray((values - affine.offset[0]) / affine.gain[0])

    geometry = _geometry(pixels, height, width, channels)
    if geometry is None:
        return None
    best = min(
        (_difference(apply, _spec(affine, candidate, height, width), channels), index, candidate)
        for index, candidate in enumerate(_near(geometry))
    )
    if best[0] > _OTHER_KERNEL:
        return None
    return Recognised(affine, best[2], (height, width), best[0])


def _geometry(
    pixels: Callable[[NDArray[Any]], NDArray[np.float64]], height: int, width: int, channels: int
) -> Geometry | None:
    """The size of the image before the crop, from how steep a ramp comes out."""
    sides = []
    for shape in ((2 * height + 35, 3 * width + 20), (3 * height + 20, 2 * width + 35)):
        resized = []
        for axis in (0, 1):
            ramp = np.linspace(0, 255, shape[axis])
            image = np.broadcast_to(ramp[:, np.newaxis] if axis == 0 else ramp, shape)
            line = pixels(np.repeat(image[..., np.newaxis], channels, 2)).mean(1 - axis)
            steps = np.polyfit(np.arange(line.size), line, 1)[0] * (shape[axis] - 1) / 255
            if steps <= 0:
                return None
            resized.append(shape[axis] / steps)
        sides.append(resized)
    if all(_about(side[0], height) and _about(side[1], width) for side in sides):
        return Geometry("stretch")
    shortest = [min(side) for side in sides]
    if _about(shortest[0], shortest[1]):
        return Geometry("crop", round(sum(shortest) / 2))
    return None


def _about(value: float, expected: float) -> bool:
    return abs(value - expected) <= max(1.5, 0.02 * expected)


def _near(geometry: Geometry) -> list[Geometry]:
    """The geometry, and its neighbours, from the nearest on: the ramps leave a pixel open."""
    if geometry.resize == "stretch":
        return [geometry]
    side = geometry.shortest_side
    return [Geometry("crop", side + step) for step in (0, 1, -1, 2, -2) if side + step > 0]


def _spec(affine: Affine, geometry: Geometry, height: int, width: int) -> Preprocessing:
    orders: dict[tuple[int, ...], Any] = {(0,): "GRAY", (0, 1, 2): "RGB", (2, 1, 0): "BGR"}
    mean = affine.mean[::-1] if affine.source == (2, 1, 0) else affine.mean
    return Preprocessing(
        height=height,
        width=width,
        order=orders[affine.source],
        resize=geometry.resize,
        shortest_side=geometry.shortest_side,
        mean=mean,
        scale=affine.gain[0],
    )


def _difference(apply: Callable[[bytes], NDArray[Any]], spec: Preprocessing, channels: int) -> float:
    """0 where noise comes out the same; else the mean distance on smooth images, in levels of 255."""
    if _distance(apply, spec, channels, smooth=False).max() <= _LEVELS_LIKE_OURS:
        return 0.0
    return float(_distance(apply, spec, channels, smooth=True).mean())


def _distance(
    apply: Callable[[bytes], NDArray[Any]], spec: Preprocessing, channels: int, smooth: bool
) -> NDArray[np.float64]:
    """Pixel by pixel, in levels of 255, over a tall and a wide image."""
    rng = np.random.default_rng(0)
    found = []
    for height, width in (
        (2 * spec.height + 3, 3 * spec.width + 2),
        (3 * spec.height + 1, 2 * spec.width + 7),
    ):
        step = 8 if smooth else 1
        noise = rng.integers(0, 256, (height // step + 1, width // step + 1, channels), np.uint8)
        data = _png(_enlarged(noise, height, width) if smooth else noise)
        theirs, ours = np.asarray(apply(data), np.float64), preprocess(data, spec).astype(np.float64)
        if theirs.shape != ours.shape:
            return np.full(1, math.inf)
        found.append(np.abs(theirs - ours).ravel() / abs(spec.scale))
    return np.concatenate(found)


def _enlarged(noise: NDArray[np.uint8], height: int, width: int) -> NDArray[Any]:
    """A picture without sharp edges, as photographs are."""
    from PIL import Image

    planes = [
        np.asarray(Image.fromarray(noise[..., channel]).resize((width, height), Image.Resampling.BICUBIC))
        for channel in range(noise.shape[2])
    ]
    return np.stack(planes, 2)


def _png(image: NDArray[Any]) -> bytes:
    from PIL import Image

    levels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).save(file, format="PNG")
    return file.getvalue()
