"""Greedy non-maximum suppression: of boxes on one object, the likeliest."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["intersection_over_union", "suppress"]

# Boxes compared with each other at once: a table that stays in the cache, and few steps for many boxes.
_BLOCK = 256


def intersection_over_union(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """The shared area of boxes over the area of both together, the Jaccard index: 0 to 1.

    Args:
        first, second: [..., 4]: ymin, xmin, ymax, xmax; the dimensions before the last are broadcast.

    Returns:
        [...]; 0 for boxes without area.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    height = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    width = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = np.maximum(height, 0) * np.maximum(width, 0)
    union = _area(a) + _area(b) - shared
    result: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return result


def suppress(boxes: NDArray[np.float64], classes: NDArray[np.intp], threshold: float) -> NDArray[np.bool_]:
    """Which boxes stay when each removes those of its class after it that overlap it by more than ``threshold``.

    A box that was removed removes none. Boxes of different classes do not touch each other.

    Args:
        boxes: [n, 4], the likeliest first: ymin, xmin, ymax, xmax.
        classes: [n].
        threshold: an intersection over union.

    Returns:
        [n].
    """
    kept = np.ones(len(boxes), np.bool_)
    order = np.argsort(classes, kind="stable")
    edges = np.flatnonzero(np.diff(classes[order])) + 1
    for members in np.split(order, edges):
        if len(members) > 1:
            kept[members] = _suppress(boxes[members], threshold)
    return kept


def _suppress(boxes: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """`suppress` for boxes of one class."""
    kept = np.ones(len(boxes), np.bool_)
    for first in range(0, len(boxes), _BLOCK):
        rest = first + np.flatnonzero(kept[first:])
        block, later = rest[rest < first + _BLOCK], rest[rest >= first + _BLOCK]
        overlaps = intersection_over_union(boxes[block, np.newaxis], boxes[block]) > threshold
        alive = np.ones(len(block), np.bool_)
        for place in np.flatnonzero(np.triu(overlaps, 1).any(axis=1)):
            if alive[place]:
                alive[place + 1 :] &= ~overlaps[place, place + 1 :]
        kept[block] = alive
        block = block[alive]
        overlaps = intersection_over_union(boxes[block, np.newaxis], boxes[later]) > threshold
        kept[later] = ~overlaps.any(axis=0)
    return kept


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return area
