"""Images that look like photographs to a network, made from a seed.

The dead-leaves model: opaque discs fall onto each other, radii with density r^-3, until they cover the image.
It shares with natural photographs what the statistics of a convolutional network depend on: edges, flat
regions, objects at every scale, the spectrum (Lee, Mumford, Huang: Occlusion models for natural images,
2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldwave.zoo.random_bits import bell, uniform

__all__ = ["dead_leaves"]

_LEAVES = 600


def dead_leaves(seed: int, count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """``count`` images [count, height, width, channels], each with a light and contrast of its own."""
    return np.stack([_scene(seed, f"scene {index}", shape) for index in range(count)])


def _scene(seed: int, stream: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    height, width, channels = shape
    light, contrast, texture = uniform(seed, f"{stream} light", (3,))
    radii, rows, columns, *gradient = uniform(seed, f"{stream} leaves", (5, _LEAVES))
    smallest, largest = max(height, width) / 80, max(height, width) / 2
    radii = smallest / np.sqrt(1 - radii * (1 - (smallest / largest) ** 2))
    rows, columns = rows * height, columns * width
    # The channels of a photograph mostly rise and fall together.
    colours = bell(seed, f"{stream} greys", (_LEAVES, 1)) + 0.3 * bell(
        seed, f"{stream} tints", (_LEAVES, channels)
    )
    image = np.zeros(shape)
    for leaf, radius in enumerate(radii):
        box = tuple(
            slice(max(int(centre - radius), 0), max(int(centre + radius) + 1, 0))
            for centre in (rows[leaf], columns[leaf])
        )
        patch = image[box]
        dy = ((np.arange(len(patch)) + box[0].start - rows[leaf]) / radius)[:, None, None]
        dx = ((np.arange(patch.shape[1]) + box[1].start - columns[leaf]) / radius)[None, :, None]
        shade = (gradient[0][leaf] - 0.5) * dy + (gradient[1][leaf] - 0.5) * dx
        np.copyto(patch, colours[leaf] + shade, where=dy * dy + dx * dx < 1)
    image = _softened(image)
    image += 0.6 * texture * bell(seed, f"{stream} texture", shape)
    levels = 80 + 80 * light + (30 + 40 * contrast) * image
    return np.asarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _softened(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges two pixels wide, as lenses and JPEG leave them."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if axis == a else (0, 0) for a in range(3)], mode="edge")
        before, middle, after = (np.take(padded, range(i, i + image.shape[axis]), axis) for i in range(3))
        image = 0.25 * before + 0.5 * middle + 0.25 * after
    return image
