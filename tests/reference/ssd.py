"""A single-shot detector's post-processing, one number at a time.

Written from the paper (W. Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016) and from the documented
constants of SSD-VGG-300 with a first grid of 37 x 37; plain Python, no numpy, shares nothing with the package.
"""

from __future__ import annotations

import math
from typing import Any

Box = tuple[float, float, float, float]  # ymin, xmin, ymax, xmax
Found = tuple[int, float, Box]  # class, probability, box

GRIDS = [37, 19, 10, 5, 3, 1]
SIZES = [(21, 45), (45, 99), (99, 153), (153, 207), (207, 261), (261, 315)]
RATIOS = [[2, 0.5], [2, 0.5, 3, 1 / 3], [2, 0.5, 3, 1 / 3], [2, 0.5, 3, 1 / 3], [2, 0.5], [2, 0.5]]
STEPS = [8, 16, 32, 64, 100, 300]
IMAGE = 300
SCALING = [0.1, 0.1, 0.2, 0.2]


def cell_anchors(level: int, row: int, column: int) -> list[tuple[float, float, float, float]]:
    """Centre x, centre y, width, height of the anchors of one cell."""
    x = (column + 0.5) * STEPS[level] / IMAGE
    y = (row + 0.5) * STEPS[level] / IMAGE
    small, large = SIZES[level]
    shapes = [(small / IMAGE, small / IMAGE), (math.sqrt(small * large) / IMAGE, math.sqrt(small * large) / IMAGE)]
    for ratio in RATIOS[level]:
        shapes.append((small / IMAGE * math.sqrt(ratio), small / IMAGE / math.sqrt(ratio)))
    return [(x, y, width, height) for width, height in shapes]


def iou(a: Box, b: Box) -> float:
    """Intersection over union; 0 where there is no area."""
    height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
    return height * width / union if union > 0 else 0.0


def boxes_of(offsets: list[Any]) -> list[Box]:
    """Every box of one image, clipped to it; ``offsets`` as lists [level][row][column][anchor][4]."""
    boxes = []
    for level, grid in enumerate(GRIDS):
        for row in range(grid):
            for column in range(grid):
                for anchor, (x, y, w, h) in enumerate(cell_anchors(level, row, column)):
                    l0, l1, l2, l3 = offsets[level][row][column][anchor]
                    cx, cy = x + l0 * SCALING[0] * w, y + l1 * SCALING[1] * h
                    width, height = w * math.exp(l2 * SCALING[2]), h * math.exp(l3 * SCALING[3])
                    edges = (cy - height / 2, cx - width / 2, cy + height / 2, cx + width / 2)
                    boxes.append(tuple(min(max(edge, 0.0), 1.0) for edge in edges))
    return boxes  # type: ignore[return-value]


def softmax(logits: list[float]) -> list[float]:
    peak = max(logits)
    powers = [math.exp(value - peak) for value in logits]
    return [power / sum(powers) for power in powers]


def detect(
    logits: list[Any], offsets: list[Any], select: float = 0.5, nms: float = 0.45, top: int = 400
) -> list[Found]:
    """The objects of one image, the likeliest first; ``logits`` as lists [level][row][column][anchor][classes]."""
    boxes = boxes_of(offsets)
    rows = [cell for level in logits for line in level for place in line for cell in place]
    candidates = [
        (-probability, place, index)
        for place, row in enumerate(rows)
        for index, probability in enumerate(softmax(row))
        if index != 0 and probability > select
    ]
    found: list[Found] = []
    for negative, place, index in sorted(candidates)[:top]:
        box = boxes[place]
        if box[2] <= box[0] or box[3] <= box[1]:
            continue
        if all(other != index or iou(rival, box) <= nms for other, _, rival in found):
            found.append((index, -negative, box))
    return found
