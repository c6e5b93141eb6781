"""From the outputs of a detection network to objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldwave.errors import TensorError
from fieldwave.postprocess.detection import Box, Detection
from fieldwave.postprocess.detector import Detector
from fieldwave.postprocess.nms import suppress
from fieldwave.postprocess.ssd import anchors, decode

__all__ = ["detect"]

# Logits looked at together. All at once take several times as long: the temporary arrays leave the cache, and the
# allocator hands them back to the kernel after every image.
_BLOCK = 2**14


def detect(
    outputs: Mapping[str, ArrayLike] | Sequence[ArrayLike], detector: Detector, labels: Sequence[str] = ()
) -> list[list[Detection]]:
    """The objects in each image of a batch, the likeliest first.

    Softmax over the classes; every class but the background whose probability is greater than the score
    threshold; of these the likeliest ``detector.candidates``; their boxes, clipped to the image, those without
    area left out; non-maximum suppression within each class. Of equal probabilities the earlier anchor comes
    first, then the lower class.

    Args:
        outputs: by name, with or without ``:0``; or in order, the logits of every feature map, then the boxes.
            Logits are [N, rows, columns, anchors, classes], boxes [N, rows, columns, anchors, 4].
        detector: of the network. Other thresholds: ``dataclasses.replace(detector, score_threshold=0.3)``.
        labels: one per class, the background's too, or none at all.

    Returns:
        One list for each image.

    Raises:
        TensorError: an output is missing, of another shape, or not finite; or there are not as many labels as
            classes.
    """
    logits, offsets = _read(outputs, detector)
    classes = logits.shape[2]
    if labels and len(labels) != classes:
        raise TensorError(f"there are {classes} classes and {len(labels)} labels, expected one label per class")
    if detector.background >= classes:
        raise TensorError(f"the background is class {detector.background}, but there are {classes} classes")
    return [_objects(logits[image], offsets[image], detector, labels) for image in range(len(logits))]


def _objects(
    logits: NDArray[Any], offsets: NDArray[Any], detector: Detector, labels: Sequence[str]
) -> list[Detection]:
    """The objects in one image: logits [anchors, classes], offsets [anchors, 4]."""
    places, classes, scores = _likely(logits, detector.background, detector.score_threshold)
    best = _best(scores, detector.candidates)
    places, classes, scores = places[best], classes[best], scores[best]
    boxes = np.clip(decode(offsets[places], anchors(detector)[places], detector.prior_scaling), 0, 1)
    seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    classes, scores, boxes = classes[seen], scores[seen], boxes[seen]
    kept = suppress(boxes, classes, detector.iou_threshold)
    found = zip(classes[kept].tolist(), scores[kept].tolist(), boxes[kept].tolist(), strict=True)
    return [Detection(labels[i] if labels else str(i), i, score, Box(*box)) for i, score, box in found]


def _likely(
    logits: NDArray[Any], background: int, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Anchor, class and probability of whatever is no background and likelier than ``threshold``."""
    step = max(_BLOCK // logits.shape[1], 1)
    starts = range(0, len(logits), step)
    blocks = [_likely_in_block(logits[start : start + step], background, threshold) for start in starts]
    places = np.concatenate([rows + start for start, (rows, _, _) in zip(starts, blocks, strict=True)])
    return places, np.concatenate([block[1] for block in blocks]), np.concatenate([block[2] for block in blocks])


def _likely_in_block(
    logits: NDArray[Any], background: int, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    # A class passes only if exp(logit - greatest) alone does, since the softmax divides by 1 or more. That is a
    # comparison; exponentials are left to the few anchors that may pass.
    greatest = logits.max(axis=1)
    edge = greatest.astype(np.float64) + (math.log(threshold) if threshold > 0 else -math.inf) - 1e-6
    possible = logits >= np.nextafter(edge.astype(logits.dtype), -np.inf)[:, np.newaxis]
    possible[:, background] = False
    rows = np.flatnonzero(possible.any(axis=1))
    powers = np.exp(logits[rows].astype(np.float64) - greatest[rows, np.newaxis])
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    probabilities[:, background] = 0
    found, classes = np.nonzero(probabilities > threshold)
    return rows[found], classes, probabilities[found, classes]


def _best(scores: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The places of the ``count`` greatest scores, greatest first, equal ones in order."""
    if len(scores) > count:
        least = np.partition(scores, -count)[-count]
        places = np.flatnonzero(scores >= least)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")[:count]]


def _read(
    outputs: Mapping[str, ArrayLike] | Sequence[ArrayLike], detector: Detector
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Logits [N, anchors, classes] and offsets [N, anchors, 4] over all feature maps."""
    arrays = _by_name(outputs, detector) if isinstance(outputs, Mapping) else _in_order(outputs, detector)
    count = len(detector.maps)
    logits, boxes = arrays[:count], arrays[count:]
    (first_name, first), classes = logits[0], 0
    for (name, array), one, kind in zip(arrays, detector.maps * 2, [0] * count + [1] * count, strict=True):
        expected = (one.rows, one.columns, one.anchors, 4 if kind else classes or None)
        _check(name, array, expected)
        classes = classes or array.shape[-1]
        if len(array) != len(first):
            raise TensorError(
                f"{name} has a batch of {len(array)}, {first_name} one of {len(first)}; give equal ones"
            )
    return _joined(logits), _joined(boxes)


def _by_name(outputs: Mapping[str, ArrayLike], detector: Detector) -> list[tuple[str, NDArray[Any]]]:
    if not detector.outputs:
        raise TensorError("the detector does not name its outputs; give them as a list, logits first")
    found = []
    for name in detector.outputs:
        key = next((key for key in (name, name.removesuffix(":0")) if key in outputs), None)
        if key is None:
            there = ", ".join(repr(key) for key in outputs) or "none"
            raise TensorError(f"output {name!r} is missing; there are: {there}")
        found.append((f"output {name!r}", np.asarray(outputs[key])))
    return found


def _in_order(outputs: Sequence[ArrayLike], detector: Detector) -> list[tuple[str, NDArray[Any]]]:
    count = len(detector.maps)
    if len(outputs) != 2 * count:
        raise TensorError(
            f"there are {len(outputs)} outputs, expected {2 * count}: {count} of logits, then {count} of boxes"
        )
    names = detector.outputs or range(2 * count)
    return [(f"output {name!r}", np.asarray(array)) for name, array in zip(names, outputs, strict=True)]


def _check(name: str, array: NDArray[Any], expected: tuple[int | None, ...]) -> None:
    fits = array.ndim == 5 and all(
        size == wanted or (wanted is None and size > 0)
        for size, wanted in zip(array.shape[1:], expected, strict=True)
    )
    if not fits:
        shape = ", ".join(str(size) for size in array.shape)
        wanted = ", ".join("classes" if size is None else str(size) for size in expected)
        hint = "; one image is a batch of 1" if array.ndim == 4 else ""
        raise TensorError(f"{name} has the shape [{shape}], expected [N, {wanted}]{hint}")
    if array.dtype.kind not in "fiu":
        raise TensorError(f"{name} holds {array.dtype}, expected numbers")
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise TensorError(f"{name} is {array[tuple(place)]} at {place}, expected finite numbers")


def _joined(arrays: Sequence[tuple[str, NDArray[Any]]]) -> NDArray[Any]:
    flat = [array.reshape(len(array), math.prod(array.shape[1:4]), array.shape[-1]) for _, array in arrays]
    joined = np.concatenate(flat, axis=1)
    return joined if joined.dtype in (np.float32, np.float64) else joined.astype(np.float64)
