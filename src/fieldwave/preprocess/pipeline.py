"""The whole way from a file, or from pixels, to the input of a network."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.preprocess.bilinear import resize, resized_size
from fieldwave.preprocess.formats import decode
from fieldwave.preprocess.spec import Preprocessing

__all__ = ["normalise", "preprocess"]

_BLOCK = 32
"""Rows at once: what is read and written again stays in the cache."""


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
    given = np.ascontiguousarray(_ordered(pixels, spec)).reshape(-1, spec.width * spec.channels)
    values = np.empty(given.shape, np.float32)
    for first in range(0, len(given), _BLOCK):
        rows = values[first : first + _BLOCK]
        rows[...] = given[first : first + _BLOCK]
        _normalise(rows, spec)
    return values.reshape(pixels.shape)


def _ordered(pixels: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """The channels in the network's order; of bytes, since to move floats takes ten times as long."""
    if spec.order != "BGR":
        return pixels
    given = np.ascontiguousarray(pixels).reshape(-1)
    ordered = given.copy()
    ordered[0::3], ordered[2::3] = given[2::3], given[0::3]
    return ordered.reshape(pixels.shape)


def _normalise(values: NDArray[np.float32], spec: Preprocessing) -> NDArray[np.float32]:
    """Subtract the mean and multiply, in place; the channels are in the network's order already.

    Args:
        values: rows of images, width * channels values each.
    """
    mean = spec.mean[::-1] if spec.order == "BGR" else spec.mean
    if any(mean):
        flat = values.reshape(-1)
        rows = _mean_rows(tuple(mean), spec.width)
        for first in range(0, flat.size, rows.size):
            part = flat[first : first + rows.size]
            part -= rows[: part.size]
    if spec.scale != 1.0:
        values *= np.float32(spec.scale)
    return values


@lru_cache(maxsize=16)
def _mean_rows(mean: tuple[float, ...], width: int) -> NDArray[np.float32]:
    """The mean for each value of a block's rows: row by row the subtraction takes twice as long."""
    return np.tile(np.array(mean, np.float32), _BLOCK * width)
