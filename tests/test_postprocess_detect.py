"""detect.py: against an independent reference, and what must hold for any network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.postprocess import Box, Detection, Detector, FeatureMap, detect, intersection_over_union, ssd300_vgg
from tests.reference import ssd as reference

SSD = ssd300_vgg()
SMALL = Detector(
    height=64,
    width=64,
    maps=(FeatureMap(4, 4, 16, 12, 24, (2.0, 0.5)), FeatureMap(2, 2, 32, 24, 48)),
    logits=("logits4:0", "logits2:0"),
    boxes=("boxes4:0", "boxes2:0"),
)
Arrays = list[NDArray[np.float32]]


def outputs(
    detector: Detector, seed: int, *, batch: int = 1, classes: int = 21, background: float = 0.0
) -> Arrays:
    """Synthetic outputs: sharp logits in steps of 1/8, as int8 networks give them, so that some are equal."""
    rng = np.random.default_rng(seed)
    shapes = [(batch, one.rows, one.columns, one.anchors) for one in detector.maps]
    logits = [np.round(rng.normal(0, 2, (*shape, classes)) * 8) / 8 for shape in shapes]
    for one in logits:
        one[..., 0] += background
    offsets = [np.round(rng.normal(0, 2, (*shape, 4)) * 8) / 8 for shape in shapes]
    return [array.astype(np.float32) for array in (*logits, *offsets)]


def tuples(found: list[Detection]) -> list[tuple[int, float, tuple[float, ...]]]:
    return [(one.index, one.score, dataclasses.astuple(one.box)) for one in found]


@pytest.mark.parametrize(
    ("seed", "select", "nms", "top", "background"),
    [
        (0, 0.5, 0.45, 400, 2.0),
        (1, 0.7, 0.2, 400, 2.0),
        (2, 0.3, 0.6, 50, 3.0),
        (3, 0.9, 0.45, 400, 0.0),
        (4, 0.999, 0.45, 400, 9.0),
    ],
)
def test_equals_the_reference(seed: int, select: float, nms: float, top: int, background: float) -> None:
    given_outputs = outputs(SSD, seed, background=background)
    detector = dataclasses.replace(SSD, score_threshold=select, iou_threshold=nms, candidates=top)
    (found,) = detect(given_outputs, detector)
    lists = [array[0].tolist() for array in given_outputs]
    expected = reference.detect(lists[:6], lists[6:], select, nms, top)
    assert bool(expected) == (background < 9)
    assert [one.index for one in found] == [index for index, _, _ in expected]
    np.testing.assert_allclose([one.score for one in found], [score for _, score, _ in expected], rtol=1e-14)
    for one, (_, _, box) in zip(found, expected, strict=True):
        np.testing.assert_allclose(dataclasses.astuple(one.box), box, rtol=0, atol=1e-14)


def test_a_single_box_at_a_known_place() -> None:
    given_outputs = outputs(SMALL, 0, classes=3, background=100)
    given_outputs[1][0, 1, 0, 1] = [0, 0, 50]  # the larger square of the lower left cell: sqrt(24 * 48) / 64
    given_outputs[3][0, 1, 0, 1] = [0, 0, 0, 0]
    half = (24 * 48) ** 0.5 / 64 / 2
    (found,) = detect(given_outputs, SMALL, ("background", "cat", "dog"))
    assert found == [Detection("dog", 2, 1.0, Box(0.75 - half, 0.0, 1.0, 0.25 + half))]


def test_by_name_with_and_without_the_index_and_in_any_order() -> None:
    arrays = outputs(SMALL, 1)
    named = dict(zip(SMALL.outputs, arrays, strict=True))
    expected = detect(arrays, SMALL)
    assert expected[0]
    assert detect(dict(reversed(named.items())), SMALL) == expected
    assert detect({name.removesuffix(":0"): array for name, array in named.items()}, SMALL) == expected


@pytest.mark.parametrize("classes", [2, 3, 21, 81, 400])
def test_any_number_of_classes(classes: int) -> None:
    (found,) = detect(outputs(SMALL, 2, classes=classes), dataclasses.replace(SMALL, score_threshold=0.05))
    assert found
    assert max(one.index for one in found) < classes
    assert min(one.index for one in found) >= 1


def test_another_background() -> None:
    arrays = outputs(SMALL, 3, classes=4)
    moved = [np.roll(array, -1, axis=-1) for array in arrays[:2]] + arrays[2:]
    names = ("background", "a", "b", "c")
    expected = [(one.label, one.score, one.box) for one in detect(arrays, SMALL, names)[0]]
    last = dataclasses.replace(SMALL, background=3)
    assert expected
    assert sorted((one.label, one.box.xmin) for one in detect(moved, last, (*names[1:], names[0]))[0]) == sorted(
        (label, box.xmin) for label, _, box in expected
    )


def test_equal_probabilities_come_in_the_order_of_anchors_then_classes() -> None:
    logits = [np.zeros((1, *shape, 5), np.float32) for shape in ((4, 4, 4), (2, 2, 2))]
    boxes = [np.zeros((1, *shape, 4), np.float32) for shape in ((4, 4, 4), (2, 2, 2))]
    every = dataclasses.replace(SMALL, score_threshold=0.1, iou_threshold=1.0, candidates=7)
    (found,) = detect([*logits, *boxes], every)
    assert [one.index for one in found] == [1, 2, 3, 4, 1, 2, 3]
    assert len({one.box for one in found[:4]}) == len({one.box for one in found[4:]}) == 1
    assert {one.score for one in found} == {0.2}


def test_a_probability_of_exactly_the_threshold_is_not_enough() -> None:
    arrays = outputs(SMALL, 0, classes=2, background=100)
    arrays[0][0, 0, 0, 0] = [3, 3]
    assert detect(arrays, SMALL) == [[]]
    (found,) = detect(arrays, dataclasses.replace(SMALL, score_threshold=0.4999))
    assert [one.score for one in found] == [0.5]


@pytest.mark.parametrize("threshold", [1e-4, 1e-3, 0.01])
def test_a_probability_that_barely_passes_beside_one_that_is_nearly_certain(threshold: float) -> None:
    arrays = outputs(SMALL, 0, classes=2, background=100)
    low = dataclasses.replace(SMALL, score_threshold=threshold)
    odds = np.log(threshold / (1 - threshold))
    for excess, count in ((1e-5, 1), (-1e-5, 0)):
        arrays[0][0, 0, 0, 0] = [0, odds + excess]
        assert len(detect(arrays, low)[0]) == count


def test_a_box_outside_of_the_image_is_no_object() -> None:
    arrays = outputs(SMALL, 0, classes=2, background=100)
    arrays[0][0, 0, 0, 0] = [0, 50]
    arrays[2][0, 0, 0, 0] = [-100, 0, 0, 0]
    assert detect(arrays, SMALL) == [[]]


def test_offsets_beyond_measure_are_clipped() -> None:
    arrays = outputs(SMALL, 0, classes=2, background=100)
    arrays[0][0, 0, 0, 0] = [0, 50]
    arrays[2][0, 0, 0, 0] = [0, 0, 1e30, 1e30]
    assert [one.box for one in detect(arrays, SMALL)[0]] == [Box(0, 0, 1, 1)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_the_images_of_a_batch_are_kept_apart(seed: int, order: list[int]) -> None:
    arrays = outputs(SMALL, seed, batch=4, classes=4)
    found = detect(arrays, SMALL)
    assert [detect([array[i : i + 1] for array in arrays], SMALL)[0] for i in range(4)] == found
    assert detect([array[order] for array in arrays], SMALL) == [found[i] for i in order]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_threshold_only_takes_away(seed: int, one: float, other: float) -> None:
    arrays = outputs(SMALL, seed, classes=4)
    low, high = sorted((one, other))
    (more,) = detect(arrays, dataclasses.replace(SMALL, score_threshold=low))
    (fewer,) = detect(arrays, dataclasses.replace(SMALL, score_threshold=high))
    assert fewer == [found for found in more if found.score > high]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 0.5))
def test_what_holds_for_whatever_is_found(seed: int, iou: float, score: float) -> None:
    arrays = outputs(SMALL, seed, classes=4)
    (found,) = detect(arrays, dataclasses.replace(SMALL, iou_threshold=iou, score_threshold=score))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert score < one.score <= 1
        assert 0 <= one.box.ymin < one.box.ymax <= 1 and 0 <= one.box.xmin < one.box.xmax <= 1
    for index in {one.index for one in found}:
        boxes = np.array([dataclasses.astuple(one.box) for one in found if one.index == index])
        assert not (np.triu(intersection_over_union(boxes[:, None], boxes), 1) > iou).any()


def test_a_shift_of_all_logits_changes_nothing() -> None:
    arrays = outputs(SMALL, 5, classes=4)
    assert detect([array + 1024 for array in arrays[:2]] + arrays[2:], SMALL) == detect(arrays, SMALL)


def test_float64_float16_and_integers_are_numbers_too() -> None:
    arrays = outputs(SMALL, 6, classes=4)
    expected = detect(arrays, SMALL)
    assert detect([array.astype(np.float64) for array in arrays], SMALL) == expected
    assert detect([array.astype(np.float16) for array in arrays], SMALL) == expected
    whole = [np.round(array) for array in arrays]
    assert detect([array.astype(np.int8) for array in whole], SMALL) == detect(whole, SMALL)


def test_an_empty_batch() -> None:
    assert detect([array[:0] for array in outputs(SMALL, 0)], SMALL) == []


def replaced(place: int, array: Any, count: int = 4) -> Arrays:
    return [array if index == place else one for index, one in enumerate(outputs(SMALL, 0, classes=3))][:count]


def poisoned(place: int, value: float) -> Arrays:
    arrays = outputs(SMALL, 0, classes=3)
    arrays[place][0, 1, 0, 1, 2] = value
    return arrays


NAMED = dict(zip(SMALL.outputs, outputs(SMALL, 0, classes=3), strict=True))


@pytest.mark.parametrize(
    ("given_outputs", "changes", "labels", "message"),
    [
        (replaced(9, None, 3), {}, (), "there are 3 outputs, expected 4: 2 of logits, then 2 of boxes"),
        (
            {"boxes2:0": 0, "x": 0},
            {},
            (),
            "output 'logits4:0' is missing; there are: 'boxes2:0', 'x'",
        ),
        ({}, {}, (), "output 'logits4:0' is missing; there are: none"),
        (
            NAMED,
            {"logits": (), "boxes": ()},
            (),
            "the detector does not name its outputs; give them as a list, logits first",
        ),
        (
            replaced(0, np.zeros((4, 4, 4, 3))),
            {},
            (),
            "output 'logits4:0' has the shape [4, 4, 4, 3], expected [N, 4, 4, 4, classes]; "
            "one image is a batch of 1",
        ),
        (
            replaced(1, np.zeros((1, 2, 2, 2, 4))),
            {},
            (),
            "output 'logits2:0' has the shape [1, 2, 2, 2, 4], expected [N, 2, 2, 2, 3]",
        ),
        (
            replaced(3, np.zeros((1, 2, 2, 2, 5))),
            {},
            (),
            "output 'boxes2:0' has the shape [1, 2, 2, 2, 5], expected [N, 2, 2, 2, 4]",
        ),
        (
            replaced(0, np.zeros((1, 4, 4, 4, 0))),
            {},
            (),
            "output 'logits4:0' has the shape [1, 4, 4, 4, 0], expected [N, 4, 4, 4, classes]",
        ),
        (replaced(0, 5.0), {}, (), "output 'logits4:0' has the shape [], expected [N, 4, 4, 4, classes]"),
        (
            replaced(2, np.zeros((2, 4, 4, 4, 4))),
            {},
            (),
            "output 'boxes4:0' has a batch of 2, output 'logits4:0' one of 1; give equal ones",
        ),
        (
            replaced(0, np.full((1, 4, 4, 4, 3), "a")),
            {},
            (),
            "output 'logits4:0' holds <U1, expected numbers",
        ),
        (poisoned(1, np.nan), {}, (), "output 'logits2:0' is nan at [0, 1, 0, 1, 2], expected finite numbers"),
        (poisoned(0, np.inf), {}, (), "output 'logits4:0' is inf at [0, 1, 0, 1, 2], expected finite numbers"),
        (poisoned(3, -np.inf), {}, (), "output 'boxes2:0' is -inf at [0, 1, 0, 1, 2], expected finite numbers"),
        (poisoned(3, 0), {}, ("a", "b"), "there are 3 classes and 2 labels, expected one label per class"),
        (poisoned(3, 0), {"background": 3}, (), "the background is class 3, but there are 3 classes"),
        (
            poisoned(3, np.nan),
            {"logits": (), "boxes": ()},
            (),
            "output 3 is nan at [0, 1, 0, 1, 2], expected finite numbers",
        ),
    ],
)
def test_other_outputs_are_refused(
    given_outputs: Any, changes: dict[str, Any], labels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TensorError) as caught:
        detect(given_outputs, dataclasses.replace(SMALL, **changes), labels)
    assert str(caught.value) == message


def test_a_box_in_pixels() -> None:
    assert Box(0.25, 0.125, 0.5, 1.0).pixels(width=640, height=480) == (80.0, 120.0, 640.0, 240.0)
