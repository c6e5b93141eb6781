"""preprocess/png.py: every kind of PNG, exact, and what is refused."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fieldwave.errors import ImageError
from fieldwave.preprocess import decode
from tests.reference.preprocess_images import CHANNELS, chunk, pattern, png

SMALL = {p.stem: p.read_bytes() for p in sorted((Path(__file__).parent / "data" / "preprocess").glob("*.png"))}
RGB8 = SMALL["rgb8"]
AFTER_HEADER = 33

NO_IEND = "the PNG is truncated or damaged: it ends before the IEND chunk; send the whole file"


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, "RGB")
    return str(caught.value)


def damage(reason: str) -> str:
    return f"the PNG is truncated or damaged: {reason}; send the whole file"


def header(bits: int = 8, colour: int = 2, size: tuple[int, int] = (5, 4), methods: bytes = b"\0\0\0") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBB", *size, bits, colour) + methods)


def file(pixels: bytes, **fields: Any) -> bytes:
    palette = chunk(b"PLTE", bytes(6)) if fields.get("colour") == 3 else b""
    return header(**fields) + palette + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


KINDS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
]


@settings(deadline=None)
@given(st.sampled_from([*KINDS, (6, 8), (6, 16)]), st.booleans(), st.data())
def test_any_png_decodes_to_its_samples(kind: tuple[int, int], interlace: bool, data: st.DataObject) -> None:
    colour, bits = kind
    height, width = data.draw(st.tuples(st.integers(1, 19), st.integers(1, 19)), label="size")
    random = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    samples = random.integers(0, 2**bits, (height, width, CHANNELS[colour]), np.uint16)
    palette = random.integers(0, 256, (2**bits, 3), np.uint8) if colour == 3 else np.empty((0, 3), np.uint8)
    before = chunk(b"PLTE", palette.tobytes()) if colour == 3 else b""

    encoded = png(samples, bits, colour, before=before, interlace=interlace)

    assert np.array_equal(decode(encoded, "RGB"), expected(samples, bits, colour, palette))


def expected(
    samples: NDArray[np.uint16], bits: int, colour: int, palette: NDArray[np.uint8]
) -> NDArray[np.integer]:
    if colour == 3:
        return palette[samples[..., 0]]
    eight = samples >> 8 if bits == 16 else samples * (255 // (2**bits - 1))
    return eight[..., :3] if colour in (2, 6) else np.repeat(eight[..., :1], 3, axis=2)


def test_transparency_is_dropped_and_not_blended() -> None:
    red = Image.new("RGBA", (3, 2), (200, 10, 20, 0))
    data = io.BytesIO()
    red.save(data, "PNG")
    assert decode(data.getvalue(), "RGB").tolist() == [[[200, 10, 20]] * 3] * 2


def test_an_index_past_the_palette_is_black() -> None:
    palette = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60]))
    samples = np.array([[[0], [1], [2], [255]]], np.uint16)
    assert decode(png(samples, 8, 3, before=palette), "RGB").tolist() == [
        [[10, 20, 30], [40, 50, 60], [0, 0, 0], [0, 0, 0]]
    ]


def test_grey_from_colour_is_libpngs_luma() -> None:
    samples = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 200, 77]]], np.uint16)
    assert decode(png(samples, 8, 2), "GRAY").tolist() == [[[76], [149], [29], [255], [129]]]


def test_grey_stays_grey() -> None:
    assert np.array_equal(decode(SMALL["grey8"], "GRAY"), pattern(1, 8))
    assert np.array_equal(decode(SMALL["grey_alpha16"], "GRAY"), pattern(2, 16)[..., :1] >> 8)


def test_an_animation_gives_its_default_picture() -> None:
    data = io.BytesIO()
    first = Image.new("RGB", (4, 4), (1, 2, 3))
    first.save(data, "PNG", save_all=True, append_images=[Image.new("RGB", (4, 4), (9, 9, 9))])
    assert decode(data.getvalue(), "RGB").tolist() == [[[1, 2, 3]] * 4] * 4


@pytest.mark.parametrize("name", ["rgb8", "palette4_interlaced", "grey1"])
def test_a_cut_at_any_byte_is_refused(name: str) -> None:
    data = SMALL[name]
    assert {refusal(data[:size]) for size in range(8, len(data))} == {NO_IEND}


@pytest.mark.parametrize("name", ["rgb8", "palette4_transparent"])
def test_a_flipped_bit_anywhere_is_refused_or_does_not_matter(name: str) -> None:
    data = SMALL[name]
    pixels = decode(data, "RGB")
    for position in range(len(data)):
        flipped = data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]
        try:
            assert np.array_equal(decode(flipped, "RGB"), pixels)
            assert b"tRNS" in data  # only what is skipped anyway
        except ImageError:
            continue


@pytest.mark.parametrize(
    ("pixels", "fields", "missing"),
    [
        (bytes(23), {"colour": 0}, 1),
        (bytes(6), {"colour": 0}, 18),
        (b"", {"colour": 0}, 24),
        (bytes(5), {"bits": 1, "colour": 0, "size": (9, 4)}, 7),
        (bytes(15), {"bits": 8, "colour": 2, "size": (1, 4)}, 1),
        (bytes(22), {"bits": 2, "colour": 3, "size": (5, 5), "methods": b"\0\0\1"}, 2),
    ],
)
def test_missing_pixels_are_no_black_pixels(pixels: bytes, fields: dict[str, Any], missing: int) -> None:
    assert refusal(file(pixels, **fields)) == damage(f"its pixel data is incomplete, {missing} bytes are missing")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b""), "the first chunk is not IHDR"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"1234"), "its header has 4 bytes, expected 13"),
        (header(size=(0, 4)), "its header says 0 x 4 pixels"),
        (header(bits=4), "its header says colour type 2, 4 bits, compression 0, filter 0, interlace 0"),
        (header(colour=5), "its header says colour type 5, 8 bits, compression 0, filter 0, interlace 0"),
        (
            header(methods=b"\1\0\0"),
            "its header says colour type 2, 8 bits, compression 1, filter 0, interlace 0",
        ),
        (
            header(methods=b"\0\0\2"),
            "its header says colour type 2, 8 bits, compression 0, filter 0, interlace 2",
        ),
        (RGB8[:-1] + b"\0", "the checksum of its chunk 'IEND' is wrong"),
        (RGB8[:-20] + b"\0" + RGB8[-19:], "the checksum of its chunk 'IDAT' is wrong"),
        (
            RGB8[:AFTER_HEADER] + chunk(b"CODE", b"") + RGB8[AFTER_HEADER:],
            "the chunk 'CODE' is not expected in it",
        ),
        (RGB8[:AFTER_HEADER] + chunk(b"teXt", b"") * 100_001, "there are more than 100000 chunks"),
        (header() + chunk(b"IEND", b""), "its pixel data is incomplete, 64 bytes are missing"),
        (header() + chunk(b"IDAT", b"garbage") + chunk(b"IEND", b""), "its pixel data is broken"),
        (file(b"\x09" + bytes(23), colour=0), "its pixel data is broken"),
        (header(colour=3) + chunk(b"IEND", b""), "its palette has 0 bytes"),
        (header(colour=3) + chunk(b"PLTE", b"1234") + chunk(b"IEND", b""), "its palette has 4 bytes"),
        (header(colour=3) + chunk(b"PLTE", bytes(771)) + chunk(b"IEND", b""), "its palette has 771 bytes"),
    ],
)
def test_damage_is_refused(data: bytes, reason: str) -> None:
    assert refusal(data) == damage(reason)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"fcTL"])
def test_a_bomb_beside_the_pixels_does_not_go_off(kind: bytes) -> None:
    bomb = chunk(kind, b"x\0\0" + zlib.compress(bytes(50_000_000)))
    data = RGB8[:AFTER_HEADER] + bomb + RGB8[AFTER_HEADER:-12] + bomb + RGB8[-12:]
    tracemalloc.start()
    pixels = decode(data, "RGB")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(pixels, decode(RGB8, "RGB"))
    assert peak < 1_000_000


def test_more_pixel_data_than_the_header_promises_is_not_inflated() -> None:
    data = file(bytes(50_000_000))
    tracemalloc.start()
    assert decode(data, "RGB").shape == (4, 5, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
