"""The geometry of a single-shot detector: its anchors, and boxes as offsets from them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldwave.errors import InputError
from fieldwave.postprocess.detector import Detector, FeatureMap

__all__ = ["anchors", "decode", "encode"]


def anchors(detector: Detector) -> NDArray[np.float64]:
    """The anchors of ``detector``, in the order of its outputs: maps, rows, columns, anchors of a cell.

    Returns:
        [anchors, 4], read-only: centre x, centre y, width, height, as fractions of the network's input.
    """
    return _anchors(detector.height, detector.width, detector.offset, detector.maps)


def decode(
    offsets: ArrayLike, priors: NDArray[np.float64], prior_scaling: tuple[float, ...]
) -> NDArray[np.float64]:
    """Boxes from the offsets that a network gives for anchors: equation in `Detector`.

    Args:
        offsets: [..., 4].
        priors: the anchors, [..., 4], as `anchors` gives them.
        prior_scaling: of the detector.

    Returns:
        [..., 4]: ymin, xmin, ymax, xmax, as fractions of the network's input; not clipped to it, so that an edge
        may be infinite where an offset is beyond all measure.
    """
    scaled = np.asarray(offsets, np.float64) * np.array(prior_scaling)
    centre = priors[..., :2] + scaled[..., :2] * priors[..., 2:]
    with np.errstate(over="ignore"):
        half = priors[..., 2:] * np.exp(scaled[..., 2:]) / 2
    return np.concatenate([(centre - half)[..., ::-1], (centre + half)[..., ::-1]], axis=-1)


def encode(boxes: ArrayLike, priors: NDArray[np.float64], prior_scaling: tuple[float, ...]) -> NDArray[np.float64]:
    """The offsets that a network must give so that `decode` makes these boxes: what training aims at.

    Args:
        boxes: [..., 4]: ymin, xmin, ymax, xmax, as fractions of the network's input.
        priors: the anchors, [..., 4].
        prior_scaling: of the detector.

    Returns:
        [..., 4].

    Raises:
        InputError: a box has no area.
    """
    edges = np.asarray(boxes, np.float64)
    low, high = edges[..., 1::-1], edges[..., :1:-1]
    size = high - low
    if not (size > 0).all():
        place = tuple(int(i) for i in np.argwhere(~(size > 0).all(axis=-1))[0])
        raise InputError(f"box {edges[place].tolist()} has no area, expected ymin < ymax and xmin < xmax")
    centre = (low + high) / 2
    scaled = np.concatenate(
        [(centre - priors[..., :2]) / priors[..., 2:], np.log(size / priors[..., 2:])], axis=-1
    )
    return np.asarray(scaled / np.array(prior_scaling))


@lru_cache(maxsize=16)
def _anchors(height: int, width: int, offset: float, maps: tuple[FeatureMap, ...]) -> NDArray[np.float64]:
    result = np.concatenate([_map_anchors(height, width, offset, one) for one in maps])
    result.setflags(write=False)
    return result


def _map_anchors(height: int, width: int, offset: float, one: FeatureMap) -> NDArray[np.float64]:
    result = np.empty((one.rows, one.columns, one.anchors, 4))
    result[..., 0] = ((np.arange(one.columns) + offset) * one.step / width)[:, np.newaxis]
    result[..., 1] = ((np.arange(one.rows) + offset) * one.step / height)[:, np.newaxis, np.newaxis]
    roots = np.sqrt(one.ratios)
    middle = np.sqrt(one.size * one.next_size)
    result[..., 2] = np.concatenate([[one.size, middle], one.size * roots]) / width
    result[..., 3] = np.concatenate([[one.size, middle], one.size / roots]) / height
    return result.reshape(-1, 4)
