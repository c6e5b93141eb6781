"""The retired service's preprocessing as the TensorFlow graph that it was: ``preprocess_array``.

Written from its documented behaviour, step by step, defects included; TensorFlow 1's API on today's TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from numpy.typing import NDArray

MEANS = {"R": 123.68, "G": 116.779, "B": 103.939}


def preprocess_array(
    in_images: Any,
    order: str = "RGB",
    scaling_factor: float = 1.0,
    output_height: int = 224,
    output_width: int = 224,
    preserve_aspect_ratio: bool = True,
) -> Any:
    """A string tensor of image files to float32 [?, H, W, 3]."""
    if order not in ("RGB", "BGR"):
        raise ValueError("can only construct in RGB or BGR order.")

    def one_image(data: Any) -> Any:
        image = tf.cast(tf.image.decode_png(data, 3), tf.float32)
        if not preserve_aspect_ratio:
            resized = tf.image.resize_bilinear(
                image[tf.newaxis], [output_height, output_width], align_corners=False
            )
            return _normalised(resized[0], order, scaling_factor)
        size = tf.shape(image)
        height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
        scale = tf.cond(height > width, lambda: 256.0 / width, lambda: 256.0 / height)
        rows, columns = tf.cast(height * scale, tf.int32), tf.cast(width * scale, tf.int32)
        resized = tf.image.resize_bilinear(image[tf.newaxis], [rows, columns], align_corners=False)[0]
        side = min(output_height, 256)
        fits = tf.logical_and(rows >= side, columns >= side)
        with tf.control_dependencies([tf.Assert(fits, ["Crop size greater than the image size."])]):
            top, left = tf.cast((rows - side) / 2, tf.int32), tf.cast((columns - side) / 2, tf.int32)
        return _normalised(tf.slice(resized, [top, left, 0], [side, side, 3]), order, scaling_factor)

    return tf.map_fn(one_image, in_images, dtype=tf.float32, name="map_normalize_jpeg")


def run(files: Sequence[bytes], **arguments: Any) -> NDArray[np.float32]:
    """What that graph makes of image files."""
    with tf.Graph().as_default(), tf.Session() as session:
        images = tf.placeholder(tf.string, [None])
        result: NDArray[np.float32] = session.run(preprocess_array(images, **arguments), {images: list(files)})
        return result


def decode(data: bytes) -> NDArray[np.uint8]:
    """The pixels that the graph starts from."""
    with tf.Graph().as_default(), tf.Session() as session:
        pixels: NDArray[np.uint8] = session.run(tf.image.decode_png(data, 3))
        return pixels


def _normalised(image: Any, order: str, scaling_factor: float) -> Any:
    planes = dict(zip("RGB", tf.split(image, 3, axis=2), strict=True))
    return tf.concat([planes[one] - MEANS[one] for one in order], axis=2) * scaling_factor
