"""Running the retired service's preprocessing as the TensorFlow graph that it was: ``preprocess_array``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from numpy.typing import NDArray

from fieldwave.compat.azureml.accel.models.utils import preprocess_array


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
