"""``azureml.accel._external.ssdvgg_utils``: from SSD-VGG's outputs to objects.

The retired package ignored both thresholds and merged the images of a batch; here they are heeded, and a batch is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fieldwave.compat.azureml.explanation import explain
from fieldwave.postprocess import anchors, detect, ssd300_vgg

__all__ = ["compute_anchors", "postprocess"]

Anchors = list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]]


def compute_anchors(img_shape: tuple[int, int] = (300, 300)) -> Anchors:
    """For each feature map: y [rows, columns, 1], x [rows, columns, 1], h [anchors], w [anchors], as fractions.

    Raises:
        ValueError: another size than 300 x 300, for which the network is made.
    """
    if tuple(img_shape) != (300, 300):
        raise ValueError(f"the anchors are those of 300 x 300 images, not {img_shape[0]} x {img_shape[1]}")
    detector, start, found = ssd300_vgg(), 0, []
    for one in detector.maps:
        count = one.rows * one.columns * one.anchors
        part = anchors(detector)[start : start + count].reshape(one.rows, one.columns, one.anchors, 4)
        start += count
        x, y, width, height = np.moveaxis(part.astype(np.float32), -1, 0)
        found.append((y[..., :1], x[..., :1], height[0, 0], width[0, 0]))
    return found


def postprocess(
    network_output: Sequence[ArrayLike],
    ssd_anchors: Any = None,
    select_threshold: float = 0.5,
    nms_threshold: float = 0.45,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Classes [objects], scores [objects] and boxes [objects, 4] (ymin, xmin, ymax, xmax; fractions) of one image.

    Args:
        network_output: the twelve outputs in their order, each [1, rows, columns, anchors, classes or 4].
        ssd_anchors: taken for compatibility; the anchors are the network's.
        select_threshold: an object's probability is greater than this.
        nms_threshold: of two boxes of one class with a greater overlap the likelier is kept.

    Raises:
        ValueError: a batch of several images.
    """
    explain(
        "postprocess(outputs, select_threshold=...)",
        "fieldwave.postprocess.detect(outputs, detector)  # or client.detect_file(path, threshold=...)",
    )
    images = len(np.asarray(network_output[0]))
    if images != 1:
        raise ValueError(f"the outputs are those of {images} images; give those of one")
    detector = replace(ssd300_vgg(), score_threshold=select_threshold, iou_threshold=nms_threshold)
    (found,) = detect(network_output, detector)
    boxes = [(one.box.ymin, one.box.xmin, one.box.ymax, one.box.xmax) for one in found]
    return (
        np.array([one.index for one in found], np.int64),
        np.array([one.score for one in found], np.float64),
        np.array(boxes, np.float64).reshape(-1, 4),
    )
