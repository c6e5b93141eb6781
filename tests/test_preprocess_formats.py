"""preprocess/formats.py: which files are images, and how large they may be."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.errors import ImageError, InputError
from fieldwave.preprocess import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, decode

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image: there are no bytes, expected a JPEG or PNG file"),
        (b"hello", "not an image: the first bytes are 68656c6c6f, expected a JPEG or PNG file"),
        (bytes(100), "not an image: the first bytes are 0000000000000000, expected a JPEG or PNG file"),
        (b"\xff\xd8", "not an image: the first bytes are ffd8, expected a JPEG or PNG file"),
        (b"\x89PNG\r\n\x1a", "not an image: the first bytes are 89504e470d0a1a, expected a JPEG or PNG file"),
        (
            b"RIFF\0\0\0\0WAVE",
            "not an image: the first bytes are 5249464600000000, expected a JPEG or PNG file",
        ),
        (b"GIF89a", "the image is in GIF format, expected a JPEG or PNG file; convert it"),
        (b"BM\x36\0\0\0", "the image is in BMP format, expected a JPEG or PNG file; convert it"),
        (b"II*\0\x08\0\0\0", "the image is in TIFF format, expected a JPEG or PNG file; convert it"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "the image is in WebP format, expected a JPEG or PNG file; convert it"),
        (b"\0\0\0\x18ftypheic", "the image is in HEIF format, expected a JPEG or PNG file; convert it"),
        (b"\0\0\0\x1cftypavif", "the image is in AVIF format, expected a JPEG or PNG file; convert it"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(data, "RGB")
    assert str(caught.value) == message


def test_a_file_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(ImageError) as caught:
        decode(bytes(MAX_IMAGE_BYTES + 1), "RGB")
    assert str(caught.value) == "the image has 20971521 bytes, the limit is 20971520 bytes; send a smaller one"


def test_a_file_at_the_limit_is_read() -> None:
    photo = (DATA / "images" / "cat_346.jpg").read_bytes()
    assert decode(photo.ljust(MAX_IMAGE_BYTES, b"\0"), "RGB").shape == (300, 200, 3)


def png_header(width: int, height: int) -> bytes:
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + content + struct.pack(">I", zlib.crc32(content))


def jpeg_header(width: int, height: int, frame: bytes = b"\xff\xc0") -> bytes:
    return b"\xff\xd8" + frame + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\1\x22\0\2\x11\1\3\x11\1"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (png_header(30_000, 30_000), "30000 x 30000"),
        (png_header(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647"),
        (png_header(MAX_IMAGE_PIXELS + 1, 1), "40000001 x 1"),
        (jpeg_header(30_000, 30_000), "30000 x 30000"),
        (jpeg_header(65_535, 65_535), "65535 x 65535"),
        (jpeg_header(8_001, 5_000, b"\xff\xc2"), "8001 x 5000"),
    ],
)
def test_an_image_over_the_limit_is_refused_by_its_header(header: bytes, size: str) -> None:
    # Nothing follows the header: an attempt to decode would call the file truncated.
    with pytest.raises(ImageError) as caught:
        decode(header, "RGB")
    assert str(caught.value) == f"the image is {size} pixels, the limit is 40000000 pixels; send a smaller one"


def test_an_image_at_the_limit_passes_the_check() -> None:
    with pytest.raises(ImageError) as caught:
        decode(png_header(MAX_IMAGE_PIXELS, 1), "RGB")
    assert str(caught.value) == (
        "the PNG is truncated or damaged: it ends before the IEND chunk; send the whole file"
    )


def test_an_unknown_order_is_refused() -> None:
    unknown: Any = "RGBA"
    with pytest.raises(InputError) as caught:
        decode(b"", unknown)
    assert str(caught.value) == "the channel order is 'RGBA', expected 'RGB', 'BGR' or 'GRAY'"


@pytest.mark.parametrize("name", ["images/cat_346.jpg", "preprocess/rgb8.png"])
def test_every_kind_of_buffer_is_accepted(name: str) -> None:
    data = (DATA / name).read_bytes()
    pixels = decode(data, "RGB")
    every_other = memoryview(bytes(byte for byte in data for _ in range(2)))[::2]
    for buffer in (bytearray(data), memoryview(data), memoryview(bytearray(data)), every_other):
        assert np.array_equal(decode(buffer, "RGB"), pixels)


@pytest.mark.parametrize("name", ["images/cat_346.jpg", "preprocess/rgb8.png", "preprocess/grey8.png"])
def test_pixels_belong_to_the_caller(name: str) -> None:
    pixels = decode((DATA / name).read_bytes(), "GRAY")
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
