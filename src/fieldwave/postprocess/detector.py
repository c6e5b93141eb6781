"""How the outputs of one detection network are to be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fieldwave.errors import InputError

__all__ = ["Detector", "FeatureMap", "ssd300_vgg"]


@dataclass(frozen=True)
class FeatureMap:
    """One grid of anchors, and with it one pair of outputs.

    Around the centre of each cell stand a square of ``size``, a square of ``sqrt(size * next_size)``, and for
    each ratio r a rectangle ``size * sqrt(r)`` wide and ``size / sqrt(r)`` high, in this order.

    Attributes:
        rows, columns: cells.
        step: from one cell to the next, in pixels of the network's input.
        size, next_size: in pixels of the network's input; ``next_size`` is as a rule the next map's ``size``.
        ratios: width over height.

    Raises:
        InputError: a value that makes no anchor.
    """

    rows: int
    columns: int
    step: float
    size: float
    next_size: float
    ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise InputError(f"the feature map has {self.rows} x {self.columns} cells, expected at least 1 x 1")
        for name in ("step", "size", "next_size"):
            _check_positive(f"the feature map's {name}", getattr(self, name))
        for ratio in self.ratios:
            _check_positive("a ratio of the feature map", ratio)

    @property
    def anchors(self) -> int:
        """Anchors of one cell."""
        return 2 + len(self.ratios)


@dataclass(frozen=True)
class Detector:
    """How the outputs of a single-shot detector (SSD: W. Liu et al., ECCV 2016) become objects.

    For each feature map there is one output of class logits [N, rows, columns, anchors, classes] and one of box
    offsets [N, rows, columns, anchors, 4]. An anchor (x, y, w, h) and its offsets l, with the prior scaling p,
    make the box with the centre x + l0 p0 w, y + l1 p1 h, the width w exp(l2 p2) and the height h exp(l3 p3).

    Attributes:
        height, width: of the network's input, in pixels.
        maps: the feature maps, in the order of the outputs.
        logits, boxes: the outputs' names, one per feature map; none where the outputs are always handed over in
            order, all logits first.
        offset: where in its cell an anchor stands, as a fraction of the step.
        prior_scaling: of centre x, centre y, width, height; what the training multiplied offsets by, inverted.
        background: the class that is no object.
        score_threshold: an object's probability is greater than this.
        iou_threshold: of two boxes of one class whose intersection over union is greater, the likelier is kept.
        candidates: how many objects, the likeliest, go into that comparison at most.

    Raises:
        InputError: a value that no network can have.
    """

    height: int
    width: int
    maps: tuple[FeatureMap, ...]
    logits: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    offset: float = 0.5
    prior_scaling: tuple[float, ...] = (0.1, 0.1, 0.2, 0.2)
    background: int = 0
    score_threshold: float = 0.5
    iou_threshold: float = 0.45
    candidates: int = 400

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise InputError(
                f"the detector's input is {self.width} x {self.height} pixels, expected at least 1 x 1"
            )
        if not self.maps:
            raise InputError("the detector has no feature map, expected at least one")
        for name in ("logits", "boxes"):
            count = len(getattr(self, name))
            if count != len(self.maps) and (self.logits or self.boxes):
                raise InputError(
                    f"the detector names {count} outputs of {name}, expected {len(self.maps)}: one per feature map"
                )
        if len(set(self.outputs)) < len(self.outputs):
            raise InputError("the detector names an output twice, expected each once")
        if not math.isfinite(self.offset):
            raise InputError(f"the detector's offset is {self.offset}, expected a finite number")
        if len(self.prior_scaling) != 4:
            raise InputError(
                f"the prior scaling has {len(self.prior_scaling)} values, expected 4: centre x, y, width, height"
            )
        for value in self.prior_scaling:
            _check_positive("a value of the prior scaling", value)
        if self.background < 0:
            raise InputError(f"the background is class {self.background}, expected 0 or more")
        for name in ("score_threshold", "iou_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"the {name} is {getattr(self, name)}, expected 0 to 1")
        if self.candidates < 1:
            raise InputError(f"the number of candidates is {self.candidates}, expected at least 1")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs in order: the logits, then the boxes."""
        return (*self.logits, *self.boxes)


def ssd300_vgg(logits: Sequence[str] = (), boxes: Sequence[str] = ()) -> Detector:
    """The detector of SSD-VGG-300 with the first grid of 37 x 37: 8,432 anchors on six feature maps."""
    grids = (37, 19, 10, 5, 3, 1)
    steps = (8, 16, 32, 64, 100, 300)
    sizes = (21, 45, 99, 153, 207, 261, 315)
    few, many = (2.0, 1 / 2), (2.0, 1 / 2, 3.0, 1 / 3)
    ratios = (few, many, many, many, few, few)
    maps = tuple(
        FeatureMap(grid, grid, step, size, following, shapes)
        for grid, step, (size, following), shapes in zip(grids, steps, pairwise(sizes), ratios, strict=True)
    )
    return Detector(height=300, width=300, maps=maps, logits=tuple(logits), boxes=tuple(boxes))


def _check_positive(what: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise InputError(f"{what} is {value}, expected a number greater than 0")
