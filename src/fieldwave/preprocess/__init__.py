"""From the bytes of a JPEG or PNG file to the tensor that a network takes."""

from fieldwave.preprocess.formats import check_total_pixels, decode, promised_size
from fieldwave.preprocess.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from fieldwave.preprocess.pipeline import normalise, preprocess
from fieldwave.preprocess.spec import Order, Preprocessing, Resize

__all__ = [
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_PIXELS",
    "Order",
    "Preprocessing",
    "Resize",
    "check_total_pixels",
    "decode",
    "normalise",
    "preprocess",
    "promised_size",
]
