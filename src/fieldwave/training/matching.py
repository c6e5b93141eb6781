"""Which anchor answers for which object (Liu et al.: SSD, 2016, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.postprocess import Detector, anchors, decode, encode, intersection_over_union

__all__ = ["Targets", "match"]


@dataclass(frozen=True)
class Targets:
    """What a detector should answer for one image.

    Attributes:
        classes: int64 [anchors]: of the object that an anchor answers for, the background's elsewhere.
        offsets: float32 [anchors, 4]: of that object's box, 0 elsewhere.
    """

    classes: NDArray[np.int64]
    offsets: NDArray[np.float32]


def match(
    detector: Detector, boxes: NDArray[np.float64], classes: NDArray[np.int64], *, threshold: float = 0.5
) -> Targets:
    """Give each object the anchor that overlaps it best, and each other anchor the object it overlaps enough.

    Args:
        detector: of the network.
        boxes: [objects, 4]: ymin, xmin, ymax, xmax, as fractions of the image.
        classes: [objects].
        threshold: an anchor whose intersection over union with an object is greater answers for it.
    """
    priors = anchors(detector)
    found = np.full(len(priors), detector.background, np.int64)
    offsets = np.zeros((len(priors), 4), np.float32)
    if len(boxes) == 0:
        return Targets(found, offsets)
    rectangles = decode(np.zeros_like(priors), priors, detector.prior_scaling)
    overlap = intersection_over_union(rectangles[:, np.newaxis], boxes)
    owner = np.where(overlap.max(1) > threshold, overlap.argmax(1), -1)
    free = overlap.copy()
    for _ in range(min(len(boxes), len(priors))):  # the best pair first, so that no two objects want one anchor
        anchor, one = np.unravel_index(int(free.argmax()), free.shape)
        owner[anchor] = one
        free[anchor], free[:, one] = -1, -1
    matched = owner >= 0
    found[matched] = classes[owner[matched]]
    offsets[matched] = encode(boxes[owner[matched]], priors[matched], detector.prior_scaling)
    return Targets(found, offsets)
