"""``azureml.accel.models.utils``: image files to what the networks take, as a TensorFlow graph."""

from __future__ import annotations

from typing import Any

from fieldwave.compat.azureml.explanation import explain

__all__ = ["preprocess_array"]

_MEANS = {"R": 123.68, "G": 116.779, "B": 103.939}
_SHORTEST_SIDE = 256


def preprocess_array(
    in_images: Any,
    order: str = "RGB",
    scaling_factor: float = 1.0,
    output_height: int = 224,
    output_width: int = 224,
    preserve_aspect_ratio: bool = True,
) -> Any:
    """A string tensor of image files to float32 [?, height, width, 3], in the default graph.

    Decode; resize bilinearly, without half-pixel centres, either the shorter side to 256 and cut out the middle,
    or to the very size; subtract the means; scale. The crop is a square of ``output_height``, at most 256, and
    heeds no ``output_width``: so the retired service did, and networks were trained with it.

    Raises:
        ValueError: another order than RGB or BGR.
    """
    explain(
        "preprocess_array(images)",
        'fieldwave.convert("NETWORK", ...)  # a package preprocesses by itself; a graph that does is understood',
    )
    if order not in ("RGB", "BGR"):
        raise ValueError("can only construct in RGB or BGR order.")
    import tensorflow.compat.v1 as tf

    def one_image(data: Any) -> Any:
        image = tf.cast(tf.image.decode_png(data, 3), tf.float32)
        if preserve_aspect_ratio:
            side = min(output_height, _SHORTEST_SIDE)
            pixels = _cropped(tf, image, side)
        else:
            pixels = tf.image.resize_bilinear(image[tf.newaxis], [output_height, output_width])[0]
        planes = dict(zip("RGB", tf.split(pixels, 3, axis=2), strict=True))
        return tf.concat([planes[one] - _MEANS[one] for one in order], axis=2) * scaling_factor

    images = tf.map_fn(one_image, in_images, dtype=tf.float32, name="map_normalize_jpeg")
    size = (min(output_height, _SHORTEST_SIDE),) * 2 if preserve_aspect_ratio else (output_height, output_width)
    images.set_shape([None, *size, 3])
    return images


def _cropped(tf: Any, image: Any, side: int) -> Any:
    """The middle of the image, its shorter side being 256."""
    size = tf.shape(image)
    height, width = tf.cast(size[0], tf.float32), tf.cast(size[1], tf.float32)
    shortest = float(_SHORTEST_SIDE)
    scale = tf.cond(height > width, lambda: shortest / width, lambda: shortest / height)
    rows, columns = tf.cast(height * scale, tf.int32), tf.cast(width * scale, tf.int32)
    resized = tf.image.resize_bilinear(image[tf.newaxis], [rows, columns])[0]
    fits = tf.logical_and(rows >= side, columns >= side)
    with tf.control_dependencies([tf.Assert(fits, ["Crop size greater than the image size."])]):
        top, left = tf.cast((rows - side) / 2, tf.int32), tf.cast((columns - side) / 2, tf.int32)
    return tf.slice(resized, [top, left, 0], [side, side, 3])
