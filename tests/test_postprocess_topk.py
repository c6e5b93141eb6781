"""topk.py: the best classes of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fieldwave.errors import InputError, TensorError
from fieldwave.postprocess import Prediction, top_k

LABELS = ["ant", "bee", "cat", "dog"]


def test_best_first_with_labels() -> None:
    scores = np.array([0.125, 0.5, 0.0625, 0.3125], np.float32)
    assert top_k(scores, LABELS, 2) == [Prediction("bee", 1, 0.5), Prediction("dog", 3, 0.3125)]


def test_equal_scores_come_in_the_order_of_the_classes() -> None:
    assert [p.label for p in top_k([0.25, 0.25, 0.25, 0.25], LABELS, 3)] == ["ant", "bee", "cat"]


def test_without_labels_the_index_is_the_label() -> None:
    assert top_k([0.1, 0.9], (), 1) == [Prediction("1", 1, 0.9)]


def test_more_than_there_are_gives_all() -> None:
    assert [p.index for p in top_k([1, 3, 2], (), 10)] == [1, 2, 0]


def test_unsigned_scores_do_not_wrap() -> None:
    assert [p.index for p in top_k(np.array([0, 255, 7], np.uint8), (), 3)] == [1, 2, 0]


@settings(deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(0, 1, width=32)), st.integers(1, 60))
def test_equals_sorting(scores: Any, k: int) -> None:
    best = sorted(range(scores.size), key=lambda i: (-scores[i], i))[:k]
    assert top_k(scores, (), k) == [Prediction(str(i), i, float(scores[i])) for i in best]


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (
            np.zeros((1, 4)),
            LABELS,
            "the scores have the shape [1, 4], expected [classes]: give one image at a time",
        ),
        (np.zeros(3), LABELS, "there are 3 scores and 4 labels, expected one label per score"),
        ([0.5, float("nan"), 0.5, 0], LABELS, "the score of class 1 is not a number"),
    ],
)
def test_other_scores_are_refused(scores: Any, labels: list[str], message: str) -> None:
    with pytest.raises(TensorError) as caught:
        top_k(scores, labels, 1)
    assert str(caught.value) == message


def test_k_below_one_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        top_k([0.5, 0.5], (), 0)
    assert str(caught.value) == "k is 0, expected at least 1"
