"""What people read of a network's results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fieldwave.package import TensorSpec
from fieldwave.serving.reading import kind_of, read_results
from fieldwave.serving.signature import Signature
from tests.served import FEATURES, SCORES, package

SIGNATURE = Signature.of(package())
LABELS = tuple(f"class {index}" for index in range(10))


def one(scores: list[float], name: str = SCORES.name) -> dict[str, np.ndarray]:
    return {name: np.array([scores], np.float32)}


def test_scores_with_labels_are_classes_the_best_first() -> None:
    signature = replace(SIGNATURE, labels=LABELS)
    assert kind_of(signature) == "classes"
    read = read_results(one([0, 3, -1, 7, *[0] * 6]), signature, top=2)
    assert read == {
        "classes": [
            {"label": "class 3", "index": 3, "score": 7.0},
            {"label": "class 1", "index": 1, "score": 3.0},
        ],
        "probabilities": False,
        "outputs": [{"name": "output_alias", "dtype": "float32", "shape": (1, 10)}],
    }


def test_probabilities_are_classes_without_labels_too() -> None:
    read = read_results(one([0.5, 0.25, 0.25, *[0] * 7]), SIGNATURE, top=1)
    assert (read["classes"], read["probabilities"]) == ([{"label": "0", "index": 0, "score": 0.5}], True)


def test_other_values_are_figures() -> None:
    assert kind_of(SIGNATURE) == "tensors"
    (output,) = read_results(one([1, 3, float("nan"), *[2] * 7]), SIGNATURE)["outputs"]
    assert output == {
        "name": "output_alias",
        "dtype": "float32",
        "shape": (1, 10),
        "not_finite": 1,
        "minimum": 1.0,
        "maximum": 3.0,
        "mean": 2.0,
        "deviation": pytest.approx((2 / 9) ** 0.5),
    }
    (output,) = read_results(one([float("inf")] * 10), SIGNATURE)["outputs"]
    assert (output["not_finite"], "mean" in output) == (10, False)


def test_the_output_as_long_as_the_labels_has_the_scores() -> None:
    signature = replace(Signature.of(package(FEATURES, SCORES)), labels=LABELS)
    results = {**one([*[0] * 9, 1]), FEATURES.name: np.ones((1, 200, 100), np.float32)}
    read = read_results(results, signature)
    assert read["classes"][0]["label"] == "class 9"
    assert [output.get("mean") for output in read["outputs"]] == [1.0, None]


def test_scores_may_be_an_image_of_one_pixel() -> None:
    spec = TensorSpec(name="scores:0", shape=(None, 1, 1, 10))
    signature = replace(Signature.of(package(spec)), labels=LABELS)
    results = {spec.name: np.eye(10, dtype=np.float32)[4].reshape(1, 1, 1, 10)}
    assert read_results(results, signature)["classes"][0] == {"label": "class 4", "index": 4, "score": 1.0}
