"""How large an image may be: checked before anything is decoded, so that a bomb costs nothing."""

from __future__ import annotations

from fieldwave.errors import ImageError

__all__ = ["MAX_IMAGE_BYTES", "MAX_IMAGE_PIXELS", "check_bytes", "check_pixels"]

MAX_IMAGE_BYTES = 20 * 2**20
MAX_IMAGE_PIXELS = 40_000_000


def check_bytes(size: int) -> None:
    """Refuse a file of more than ``MAX_IMAGE_BYTES`` bytes."""
    if size > MAX_IMAGE_BYTES:
        raise ImageError(f"the image has {size} bytes, the limit is {MAX_IMAGE_BYTES} bytes; send a smaller one")


def check_pixels(width: int, height: int) -> None:
    """Refuse an image whose header promises more than ``MAX_IMAGE_PIXELS`` pixels."""
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageError(
            f"the image is {width} x {height} pixels, the limit is {MAX_IMAGE_PIXELS} pixels; send a smaller one"
        )
