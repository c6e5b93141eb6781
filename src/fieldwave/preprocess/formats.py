"""The bytes of an image file, recognised by its first bytes, to pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import ImageError
from fieldwave.preprocess import jpeg, png
from fieldwave.preprocess.limits import MAX_IMAGE_PIXELS, check_bytes
from fieldwave.preprocess.spec import Order, channels

__all__ = ["check_total_pixels", "decode", "promised_size"]

# Formats that are images, but not ours: (first bytes, bytes from the eighth on, name).
_FOREIGN = (
    (b"GIF8", b"", "GIF"),
    (b"BM", b"", "BMP"),
    (b"II*\0", b"", "TIFF"),
    (b"MM\0*", b"", "TIFF"),
    (b"RIFF", b"WEBP", "WebP"),
)
_ISO_MEDIA = {b"heic": "HEIF", b"heix": "HEIF", b"mif1": "HEIF", b"avif": "AVIF"}


def decode(
    data: bytes | bytearray | memoryview, order: Order, least: Callable[[int, int], tuple[int, int]] | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG file, as TensorFlow's ``decode_png`` does it.

    An orientation in the EXIF data is not applied, transparency is dropped and not blended, and colour
    profiles are not read.

    Args:
        data: the whole file, at most ``MAX_IMAGE_BYTES``.
        order: GRAY for one channel, else three.
        least: from an image's height and width, those that are enough: a JPEG is decoded at a half, a quarter or
            an eighth of its size where that is no smaller. None to decode every pixel.

    Returns:
        Pixels [height, width, channels], in R, G, B order for both RGB and BGR.

    Raises:
        ImageError: not a JPEG or PNG file, truncated, damaged, of an unsupported kind, or too large.
    """
    count = channels(order)
    check_bytes(memoryview(data).nbytes)
    encoded = bytes(data)
    if encoded.startswith(jpeg.MAGIC):
        return jpeg.decode_jpeg(encoded, count, least)
    if encoded.startswith(png.MAGIC):
        return png.decode_png(encoded, count)
    raise ImageError(_foreign(encoded))


def check_total_pixels(files: Iterable[bytes]) -> None:
    """Refuse images whose headers promise more pixels than a single one may have, before any is decoded.

    A file without a readable header counts nothing: `decode` says what is wrong with it.

    Raises:
        ImageError: more than ``MAX_IMAGE_PIXELS`` pixels in all.
    """
    sizes = [math.prod(promised_size(data)) for data in files]
    if sum(sizes) > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"the {len(sizes)} images have {sum(sizes)} pixels in all, "
            f"the limit is {MAX_IMAGE_PIXELS} pixels; send fewer or smaller ones"
        )


def promised_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header of a JPEG or PNG file, in pixels; 0, 0 where there is no readable header."""
    if data.startswith(jpeg.MAGIC):
        return jpeg.promised_size(data)
    if data.startswith(png.MAGIC):
        return png.promised_size(data)
    return 0, 0


def _foreign(data: bytes) -> str:
    if not data:
        return "not an image: there are no bytes, expected a JPEG or PNG file"
    name = next((n for first, rest, n in _FOREIGN if data.startswith(first) and data[8:12].startswith(rest)), None)
    if name is None and data[4:8] == b"ftyp":
        name = _ISO_MEDIA.get(data[8:12])
    if name is not None:
        return f"the image is in {name} format, expected a JPEG or PNG file; convert it"
    return f"not an image: the first bytes are {data[:8].hex()}, expected a JPEG or PNG file"
