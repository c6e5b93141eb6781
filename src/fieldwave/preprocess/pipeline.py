"""The whole way from a file, or from pixels, to the input of a network."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.preprocess.bilinear import resize, resized_size
from fieldwave.preprocess.formats import decode
from fieldwave.preprocess.spec import Preprocessing

__all__ = ["normalise", "preprocess"]


def preprocess(data: bytes | bytearray | memoryview, spec: Preprocessing) -> NDArray[np.float32]:
    """Turn the bytes of a JPEG or PNG file into the input of a network.

    Decode, resize, crop, subtract the mean, put the channels in order, scale: bit for bit the result of
    TensorFlow's ``decode_png``, ``resize_bilinear`` and the float32 operations after them. Safe to call from
    several threads. With ``spec.decode`` scaled, a large JPEG is decoded to a smaller image first.

    Returns:
        [spec.height, spec.width, spec.channels].

    Raises:
        ImageError: not a JPEG or PNG file, truncated, damaged, of an unsupported kind, or too large.
    """
    least = partial(resized_size, spec=spec) if spec.decode == "scaled" else None
    return _normalise(resize(decode(data, spec.order, least), spec), spec)


def normalise(pixels: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.float32]:
    """Turn pixels of the network's own size into its input: mean, order, scale; no resize.

    Args:
        pixels: uint8 [..., spec.height, spec.width, spec.channels] in R, G, B order.
        spec: of the network.

    Returns:
        The same shape, in the network's order.

    Raises:
        TensorError: another shape or dtype.
    """
    expected = (spec.height, spec.width, spec.channels)
    if pixels.dtype != np.uint8 or pixels.shape[-3:] != expected:
        shape = ", ".join(str(size) for size in pixels.shape)
        raise TensorError(
            f"the pixels are {pixels.dtype} [{shape}], "
            f"expected uint8 [..., {spec.height}, {spec.width}, {spec.channels}]"
        )
    values = pixels.astype(np.float32, order="C")
    if spec.order == "BGR":
        ordered = np.empty_like(values)
        # A copy of values[..., ::-1] would go three values at a time, which takes four times as long.
        for channel in range(spec.channels):
            ordered[..., channel] = values[..., spec.channels - 1 - channel]
        values = ordered
    return _normalise(values, spec)


def _normalise(values: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    """Subtract the mean and multiply, in place; the channels are in the network's order already."""
    mean = spec.mean[::-1] if spec.order == "BGR" else spec.mean
    rows = values.reshape(-1, spec.width * spec.channels)
    rows -= np.tile(np.array(mean, np.float32), spec.width)
    if spec.scale != 1.0:
        rows *= np.float32(spec.scale)
    return values
