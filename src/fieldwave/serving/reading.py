"""What a network said of one image, as people read it: the likeliest classes, objects, or figures of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.package import TensorSpec
from fieldwave.postprocess import detect, top_k
from fieldwave.serving.signature import Signature

__all__ = ["MOST_CLASSES", "TOP_CLASSES", "Kind", "kind_of", "read_results"]

Kind = str
"""``classes``, ``objects`` or ``tensors``."""

TOP_CLASSES, MOST_CLASSES = 5, 1000
_SUM_TOLERANCE = 0.02
"""Probabilities in int8 do not sum to 1 exactly."""


def kind_of(signature: Signature) -> Kind:
    """As what the network's outputs are read, as far as it is known before it has said anything."""
    if signature.detector is not None:
        return "objects"
    return "classes" if _scores_spec(signature) is not None and signature.labels else "tensors"


def read_results(
    results: Mapping[str, NDArray[Any]],
    signature: Signature,
    *,
    top: int = TOP_CLASSES,
    threshold: float | None = None,
) -> dict[str, Any]:
    """The results for one image, ready for JSON.

    Objects where the package says how to find them; classes where one output has a score for each label, or
    probabilities (not negative, and 1 in sum); and of every other output the shape and figures of its values.

    Parameters:
        results: each output by its name in the graph, [1, ...].
        top: how many classes.
        threshold: the least score of an object; None for the package's.

    Raises:
        TensorError: scores, or a detection network's outputs, are not finite.
    """
    if signature.detector is not None:
        detector = signature.detector
        if threshold is not None:
            detector = dataclasses.replace(detector, score_threshold=threshold)
        found = [dataclasses.asdict(one) for one in detect(results, detector, signature.labels)[0]]
        outputs = [_described(spec, results[spec.name]) for spec in signature.outputs]
        return {"objects": found, "threshold": detector.score_threshold, "outputs": outputs}
    spec = _scores_spec(signature)
    scores = None if spec is None else results[spec.name].reshape(-1)
    is_probability = scores is not None and _are_probabilities(scores)
    if scores is not None and (is_probability or signature.labels):
        classes = [
            {"label": one.label, "index": one.index, "score": one.probability}
            for one in top_k(scores, signature.labels, top)
        ]
        said = {"classes": classes, "probabilities": is_probability}
    else:
        said, spec = {}, None
    outputs = [
        {**_described(one, results[one.name]), **({} if one is spec else _statistics(results[one.name]))}
        for one in signature.outputs
    ]
    return {**said, "outputs": outputs}


def _scores_spec(signature: Signature) -> TensorSpec | None:
    """The output that may be a score for each class: the only one, or the only one as long as the labels."""
    flat = [spec for spec in signature.outputs if len(spec.shape) > 1 and set(spec.shape[:-1]) <= {None, 1}]
    if signature.labels:
        flat = [spec for spec in flat if spec.shape[-1] == len(signature.labels)]
    elif len(signature.outputs) > 1:
        flat = []
    return flat[0] if len(flat) == 1 and flat[0].shape[-1] not in (None, 1) else None


def _are_probabilities(scores: NDArray[Any]) -> bool:
    # NaN compares as false.
    return bool(scores.min() >= 0 and abs(float(scores.sum(dtype=np.float64)) - 1) <= _SUM_TOLERANCE)


def _described(spec: TensorSpec, array: NDArray[Any]) -> dict[str, Any]:
    return {"name": spec.public_name, "dtype": array.dtype.name, "shape": array.shape}


def _statistics(array: NDArray[Any]) -> dict[str, Any]:
    """Of the finite values; how many others there are is said."""
    values = array.astype(np.float64).reshape(-1)
    finite = values[np.isfinite(values)]
    said: dict[str, Any] = {"not_finite": values.size - finite.size}
    if not finite.size:
        return said
    return said | {
        "minimum": float(finite.min()),
        "maximum": float(finite.max()),
        "mean": float(finite.mean()),
        "deviation": float(finite.std()),
    }
