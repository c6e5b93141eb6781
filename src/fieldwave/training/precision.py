"""How good a detector is: mean average precision, as Pascal VOC measures it since 2010."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldwave.postprocess import Detection, intersection_over_union

__all__ = ["mean_average_precision"]


def mean_average_precision(
    found: Sequence[Sequence[Detection]],
    objects: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]],
    *,
    threshold: float = 0.5,
) -> float:
    """The area under the curve of precision over recall, its dents filled, averaged over the classes that occur.

    Everingham et al.: The Pascal Visual Object Classes Challenge 2012 Development Kit, section 3.4.1.

    Args:
        found: the detections of each image, with low score thresholds: `fieldwave.postprocess.detect`.
        objects: of each image: boxes [objects, 4] and classes [objects].
        threshold: a detection is right where its intersection over union with an object is at least that; a second
            one of the same object is wrong.

    Returns:
        0 to 1; 0 where there are no objects.
    """
    classes = sorted({int(one) for _, numbers in objects for one in numbers})
    return float(np.mean([_average(found, objects, one, threshold) for one in classes])) if classes else 0.0


def _average(
    found: Sequence[Sequence[Detection]],
    objects: Sequence[tuple[NDArray[np.float64], NDArray[np.int64]]],
    one: int,
    threshold: float,
) -> float:
    total = sum(int((numbers == one).sum()) for _, numbers in objects)
    answers = [(item, image) for image, items in enumerate(found) for item in items if item.index == one]
    ranked = sorted(answers, key=lambda answer: -answer[0].score)
    taken: set[tuple[int, int]] = set()
    right = np.zeros(len(ranked))
    for place, (item, image) in enumerate(ranked):
        boxes, numbers = objects[image]
        edges = np.array([item.box.ymin, item.box.xmin, item.box.ymax, item.box.xmax])
        overlap = np.where(numbers == one, intersection_over_union(boxes, edges), 0.0)
        best = int(overlap.argmax()) if len(overlap) else -1
        if best >= 0 and overlap[best] >= threshold and (image, best) not in taken:
            taken.add((image, best))
            right[place] = 1
    hits = right.cumsum()
    precision = np.maximum.accumulate((hits / np.arange(1, len(ranked) + 1))[::-1])[::-1]
    return float((precision * right).sum() / total)
