"""From the scores of a classifier to what a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fieldwave.errors import InputError, TensorError

__all__ = ["Prediction", "top_k"]


@dataclass(frozen=True)
class Prediction:
    """One class and what the network gives for it.

    Attributes:
        label: the name of the class; its index as text where the network has no labels.
        index: of the class, counting from 0.
        probability: the score, 0 to 1 after a softmax.
    """

    label: str
    index: int
    probability: float


def top_k(scores: ArrayLike, labels: Sequence[str], k: int) -> list[Prediction]:
    """The ``k`` classes with the highest scores, best first; of equal ones the lower index comes first.

    Args:
        scores: of one image, [classes].
        labels: one per class, or none at all.
        k: how many, at least 1; all classes where there are fewer.

    Raises:
        TensorError: the scores are not one-dimensional, not numbers, or not as many as the labels.
        InputError: ``k`` is less than 1.
    """
    values = np.asarray(scores)
    if values.ndim != 1:
        shape = ", ".join(str(size) for size in values.shape)
        raise TensorError(f"the scores have the shape [{shape}], expected [classes]: give one image at a time")
    if labels and len(labels) != values.size:
        raise TensorError(f"there are {values.size} scores and {len(labels)} labels, expected one label per score")
    if np.isnan(values).any():
        raise TensorError(f"the score of class {np.isnan(values).argmax()} is not a number")
    if k < 1:
        raise InputError(f"k is {k}, expected at least 1")
    best = np.argsort(-values.astype(np.float64), kind="stable")[:k]
    return [Prediction(labels[i] if labels else str(i), int(i), float(values[i])) for i in best]
