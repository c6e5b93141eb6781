"""ssd.py: anchors, and boxes to offsets and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fieldwave.errors import InputError
from fieldwave.postprocess import Detector, FeatureMap, anchors, decode, encode, ssd300_vgg
from tests.reference import ssd as reference

SCALING = (0.1, 0.1, 0.2, 0.2)


def test_the_anchors_of_ssd_vgg_are_those_of_the_reference() -> None:
    expected = [
        anchor
        for level, grid in enumerate(reference.GRIDS)
        for row in range(grid)
        for column in range(grid)
        for anchor in reference.cell_anchors(level, row, column)
    ]
    made = anchors(ssd300_vgg())
    assert made.shape == (8432, 4)
    np.testing.assert_allclose(made, expected, rtol=1e-15, atol=0)


def test_the_anchors_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        anchors(ssd300_vgg())[0, 0] = 1


def test_a_map_that_is_wider_than_high() -> None:
    detector = Detector(height=100, width=200, maps=(FeatureMap(1, 2, 100, 20, 80),), offset=0.5)
    assert anchors(detector).tolist() == [
        [0.25, 0.5, 0.1, 0.2],
        [0.25, 0.5, 0.2, 0.4],
        [0.75, 0.5, 0.1, 0.2],
        [0.75, 0.5, 0.2, 0.4],
    ]


def test_no_offset_is_the_anchor_itself() -> None:
    assert decode([0, 0, 0, 0], np.array([0.5, 0.25, 0.5, 0.25]), SCALING).tolist() == [0.125, 0.25, 0.375, 0.75]


def test_each_offset_moves_what_it_should() -> None:
    anchor = np.array([0.5, 0.5, 0.25, 0.5])
    ymin, xmin, ymax, xmax = decode([2, 0, 0, 0], anchor, SCALING)
    assert (ymin, ymax) == (0.25, 0.75) and xmin == pytest.approx(0.425) and xmax == pytest.approx(0.675)
    ymin, xmin, ymax, xmax = decode([0, 2, 0, 0], anchor, SCALING)
    assert (xmin, xmax) == (0.375, 0.625) and ymin == pytest.approx(0.35) and ymax == pytest.approx(0.85)
    ymin, xmin, ymax, xmax = decode([0, 0, math.log(2) / 0.2, math.log(0.5) / 0.2], anchor, SCALING)
    assert (ymin, ymax) == pytest.approx((0.375, 0.625)) and (xmin, xmax) == pytest.approx((0.25, 0.75))


def test_an_offset_beyond_measure_makes_an_infinite_edge_and_no_warning() -> None:
    assert decode([0, 0, 1e30, 0], np.array([0.5, 0.5, 0.1, 0.1]), SCALING).tolist()[1::2] == [-math.inf, math.inf]


boxes = st.tuples(st.floats(-0.5, 1), st.floats(-0.5, 1), st.floats(0.001, 1), st.floats(0.001, 1)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@settings(deadline=None, max_examples=50)
@given(st.lists(boxes, min_size=1, max_size=5), st.data())
def test_encode_and_back(edges: list[list[float]], data: Any) -> None:
    places = data.draw(arrays.arrays(np.int64, len(edges), elements=st.integers(0, 8431)))
    priors = anchors(ssd300_vgg())[places]
    offsets = encode(edges, priors, SCALING)
    np.testing.assert_allclose(decode(offsets, priors, SCALING), edges, rtol=0, atol=1e-12)


def test_a_box_without_area_cannot_be_encoded() -> None:
    with pytest.raises(InputError) as caught:
        encode([[0, 0, 1, 1], [0.5, 0.2, 0.5, 0.4]], anchors(ssd300_vgg())[:2], SCALING)
    assert str(caught.value) == "box [0.5, 0.2, 0.5, 0.4] has no area, expected ymin < ymax and xmin < xmax"


MAP = FeatureMap(2, 2, 8, 10, 20, (2.0,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "the detector's input is 16 x 0 pixels, expected at least 1 x 1"),
        ({"maps": ()}, "the detector has no feature map, expected at least one"),
        (
            {"logits": ("a", "b"), "boxes": ("c",)},
            "the detector names 2 outputs of logits, expected 1: one per feature map",
        ),
        ({"logits": ("a",)}, "the detector names 0 outputs of boxes, expected 1: one per feature map"),
        ({"logits": ("a",), "boxes": ("a",)}, "the detector names an output twice, expected each once"),
        ({"offset": math.inf}, "the detector's offset is inf, expected a finite number"),
        ({"prior_scaling": (0.1, 0.2)}, "the prior scaling has 2 values, expected 4: centre x, y, width, height"),
        (
            {"prior_scaling": (0.1, 0.1, 0.2, 0.0)},
            "a value of the prior scaling is 0.0, expected a number greater than 0",
        ),
        ({"background": -1}, "the background is class -1, expected 0 or more"),
        ({"score_threshold": 1.5}, "the score_threshold is 1.5, expected 0 to 1"),
        ({"iou_threshold": math.nan}, "the iou_threshold is nan, expected 0 to 1"),
        ({"candidates": 0}, "the number of candidates is 0, expected at least 1"),
    ],
)
def test_a_detector_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Detector(**{"height": 16, "width": 16, "maps": (MAP,), **changes})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 2, 8, 10, 20), "the feature map has 0 x 2 cells, expected at least 1 x 1"),
        ((2, 2, 0, 10, 20), "the feature map's step is 0, expected a number greater than 0"),
        ((2, 2, 8, -1, 20), "the feature map's size is -1, expected a number greater than 0"),
        ((2, 2, 8, 10, math.inf), "the feature map's next_size is inf, expected a number greater than 0"),
        ((2, 2, 8, 10, 20, (2.0, 0.0)), "a ratio of the feature map is 0.0, expected a number greater than 0"),
    ],
)
def test_a_feature_map_that_cannot_be(values: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        FeatureMap(*values)
    assert str(caught.value) == message
