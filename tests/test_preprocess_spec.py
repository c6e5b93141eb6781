"""preprocess/spec.py: what a network may expect of its input."""

from __future__ import annotations

from typing import Any

import pytest

import fieldwave.preprocess
from fieldwave.errors import InputError
from fieldwave.preprocess import Preprocessing


def test_defaults_are_those_of_the_imagenet_networks() -> None:
    spec = Preprocessing(224, 224)
    assert (spec.order, spec.resize, spec.shortest_side) == ("RGB", "crop", 256)
    assert (spec.mean, spec.scale) == ((123.68, 116.779, 103.939), 1.0)


@pytest.mark.parametrize(
    ("order", "mean", "channels"), [("RGB", (1, 2, 3), 3), ("BGR", (1, 2, 3), 3), ("GRAY", (1,), 1)]
)
def test_channels_follow_the_order(order: Any, mean: tuple[float, ...], channels: int) -> None:
    assert Preprocessing(8, 8, order=order, mean=mean).channels == channels


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"height": 0},
            "the network's input is 224 x 0 pixels, expected at least 1 x 1 and at most 40000000 pixels",
        ),
        (
            {"height": 6325, "width": 6325},
            "the network's input is 6325 x 6325 pixels, expected at least 1 x 1 and at most 40000000 pixels",
        ),
        ({"order": "RBG"}, "the channel order is 'RBG', expected 'RGB', 'BGR' or 'GRAY'"),
        ({"resize": "fit"}, "the resize is 'fit', expected 'crop' or 'stretch'"),
        ({"shortest_side": 0}, "the shortest side is 0 pixels, expected at least 1"),
        ({"order": "GRAY"}, "the mean has 3 values, the order GRAY takes 1: one per channel"),
        ({"mean": (0.5,)}, "the mean has 1 values, the order RGB takes 3: one per channel"),
        (
            {"scale": float("nan")},
            "the mean (123.68, 116.779, 103.939) and the scale nan must be finite numbers",
        ),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Preprocessing(**{"height": 224, "width": 224, **values})
    assert str(caught.value) == message


def test_public_names_exist() -> None:
    assert sorted(fieldwave.preprocess.__all__) == fieldwave.preprocess.__all__
    assert all(hasattr(fieldwave.preprocess, name) for name in fieldwave.preprocess.__all__)
