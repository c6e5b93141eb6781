"""nms.py: what is kept does not overlap, and what is removed did."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave.postprocess import intersection_over_union, nms, suppress
from tests.reference import ssd as reference


def test_intersection_over_union() -> None:
    boxes = [[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [3, 0, 4, 2], [0, 3, 2, 4], [1, 1, 1, 3]]
    assert intersection_over_union([0, 0, 2, 2], boxes).tolist() == [1.0, 1 / 7, 0.0, 0.0, 0.0, 0.0]
    assert intersection_over_union([1, 1, 1, 1], [1, 1, 1, 1]).tolist() == 0.0


def test_a_removed_box_removes_none() -> None:
    boxes = np.array([[0, 0, 1, 10], [0, 4, 1, 14], [0, 8, 1, 18]], float)  # a chain: neighbours overlap by 3/7
    assert suppress(boxes, np.zeros(3, int), 0.4).tolist() == [True, False, True]


def test_an_overlap_of_exactly_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 1, 2], [0, 0, 1, 1]], float)
    assert suppress(boxes, np.zeros(2, int), 0.5).tolist() == [True, True]
    assert suppress(boxes, np.zeros(2, int), 0.499).tolist() == [True, False]


def test_equal_boxes_of_two_classes_both_stay() -> None:
    boxes = np.array([[0, 0, 1, 1]] * 4, float)
    assert suppress(boxes, np.array([7, 1, 7, 1]), 0.0).tolist() == [True, True, False, False]


def test_nothing_stays_nothing() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0, int), 0.5).tolist() == []


def random_boxes(seed: int, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (count, 2)) / 16
    return np.concatenate([low, low + rng.integers(1, 5, (count, 2)) / 16], axis=1), rng.integers(0, 3, count)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 60), st.floats(0, 1), st.sampled_from([1, 3, 16, 256]))
def test_invariants(seed: int, count: int, threshold: float, block: int) -> None:
    boxes, classes = random_boxes(seed, count)
    before, nms._BLOCK = nms._BLOCK, block
    try:
        kept = suppress(boxes, classes, threshold)
    finally:
        nms._BLOCK = before
    for place in range(count):
        rivals = [
            other
            for other in range(place)
            if kept[other]
            and classes[other] == classes[place]
            and reference.iou(tuple(boxes[other]), tuple(boxes[place])) > threshold
        ]
        assert kept[place] == (not rivals)
