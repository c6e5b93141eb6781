"""preprocess/jpeg.py: every kind of JPEG that is taken, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from fieldwave.errors import ImageError
from fieldwave.preprocess import decode

DATA = Path(__file__).parent / "data"
PHOTO = (DATA / "images" / "cat_346.jpg").read_bytes()
SMALL = {path.stem: path.read_bytes() for path in sorted((DATA / "preprocess").glob("*.jpg"))}

NO_EOI = "the JPEG is truncated or damaged: it ends before the EOI marker; send the whole file"


def refusal(data: bytes, order: str = "RGB") -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, order)  # type: ignore[arg-type]
    return str(caught.value)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def with_frame(data: bytes, offset: int, value: int) -> bytes:
    """The file with one byte changed, counted from the marker of its frame header."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + offset] + bytes([value]) + data[frame + offset + 1 :]


@pytest.mark.parametrize("name", SMALL)
def test_small_images_decode(name: str) -> None:
    assert decode(SMALL[name], "RGB").shape == (29, 37, 3)


def test_rgb_and_bgr_give_the_same_pixels() -> None:
    assert np.array_equal(decode(PHOTO, "RGB"), decode(PHOTO, "BGR"))


def test_the_transform_is_the_fast_one_of_tensorflow() -> None:
    assert np.array_equal(decode(PHOTO, "RGB"), simplejpeg.decode_jpeg(PHOTO, "RGB", fastdct=True))
    assert not np.array_equal(decode(PHOTO, "RGB"), simplejpeg.decode_jpeg(PHOTO, "RGB", fastdct=False))


def test_grey_is_the_luma_of_the_file() -> None:
    grey = decode(SMALL["jpeg_grey"], "GRAY")
    assert grey.shape == (29, 37, 1)
    assert np.array_equal(decode(SMALL["jpeg_grey"], "RGB"), np.repeat(grey, 3, axis=2))


def test_orientation_is_not_applied() -> None:
    assert np.array_equal(decode(SMALL["jpeg_orientation"], "RGB"), decode(SMALL["jpeg420"], "RGB"))


def test_cmyk_counts_ink_or_light_by_the_adobe_marker() -> None:
    stored = simplejpeg.decode_jpeg(SMALL["jpeg_cmyk"], "CMYK", fastdct=True).astype(int)
    light = decode(SMALL["jpeg_cmyk_adobe"], "RGB")
    ink = decode(SMALL["jpeg_cmyk"], "RGB")
    assert np.array_equal(light, stored[..., :3] * stored[..., 3:] // 255)
    assert np.array_equal(ink, (255 - stored[..., :3]) * (255 - stored[..., 3:]) // 255)


def test_cmyk_for_a_grey_network_is_refused() -> None:
    assert refusal(SMALL["jpeg_cmyk"], "GRAY") == (
        "the JPEG is CMYK and the network takes grey; save it as grey or RGB"
    )


@pytest.mark.parametrize("name", SMALL)
def test_a_cut_at_any_byte_is_refused(name: str) -> None:
    data = SMALL[name]
    assert {refusal(data[:size]) for size in range(3, len(data))} == {NO_EOI}


@pytest.mark.parametrize("path", sorted((DATA / "images").glob("*.jpg")), ids=lambda path: path.stem)
def test_a_cut_photograph_is_refused(path: Path) -> None:
    data = path.read_bytes()
    sizes = [*range(3, len(data), 499), *range(len(data) - 40, len(data))]
    assert {refusal(data[:size]) for size in sizes} == {NO_EOI}


def test_missing_pixels_are_no_grey_pixels() -> None:
    half = PHOTO[: len(PHOTO) // 2]
    assert refusal(half + b"\xff\xd9") == (
        "the JPEG is truncated or damaged: corrupt JPEG data: premature end of data segment; send the whole file"
    )
    assert refusal(half.ljust(len(PHOTO), b"\0")) == NO_EOI


def test_bytes_after_the_image_do_not_matter() -> None:
    assert np.array_equal(decode(PHOTO + b"\xff\xda" * 500, "RGB"), decode(PHOTO, "RGB"))


@pytest.mark.parametrize("profile", [b"ICC_PROFILE\0\5\2rest", b"ICC_PROFILE\0\1\1" + bytes(200)])
def test_a_damaged_colour_profile_does_not_matter(profile: bytes) -> None:
    assert np.array_equal(decode(PHOTO[:2] + segment(0xE2, profile) + PHOTO[2:], "RGB"), decode(PHOTO, "RGB"))


def test_a_whole_image_within_a_segment_does_not_matter() -> None:
    thumbnail = segment(0xE1, b"Exif\0\0" + SMALL["jpeg_cmyk"])
    assert np.array_equal(decode(PHOTO[:2] + thumbnail + PHOTO[2:], "RGB"), decode(PHOTO, "RGB"))


def test_fill_bytes_before_a_marker_do_not_matter() -> None:
    assert np.array_equal(decode(PHOTO[:2] + b"\xff" * 100_000 + PHOTO[2:], "RGB"), decode(PHOTO, "RGB"))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (with_frame(PHOTO, 4, 12), "SOF0, 12 bits, 3 components"),
        (with_frame(PHOTO, 1, 0xC3), "SOF3, 8 bits, 3 components"),
        (with_frame(PHOTO, 1, 0xC9), "SOF9, 8 bits, 3 components"),
        (with_frame(PHOTO, 9, 2), "SOF0, 8 bits, 2 components"),
    ],
)
def test_other_kinds_are_refused(data: bytes, kind: str) -> None:
    assert refusal(data) == (
        f"the JPEG is of an unsupported kind ({kind}); "
        "save it as baseline or progressive with 8 bits, grey, RGB or CMYK"
    )


def test_an_unusual_subsampling_is_refused() -> None:
    assert refusal(with_frame(PHOTO, 11, 0x31)) == (
        "the JPEG has the unusual sampling factors 3x1 1x1 1x1; save it as 4:2:0, 4:2:2 or 4:4:4"
    )


def test_too_many_scans_are_refused() -> None:
    data = SMALL["jpeg_progressive"]
    last = data[data.rindex(b"\xff\xda") : -2]
    assert refusal(data[:-2] + last * 95 + data[-2:]) == (
        "the JPEG has 105 scans, the limit is 100 scans; save it as baseline"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xd8\xff\xd9", "the frame header is missing"),
        (b"\xff\xd8" + segment(0xC0, b"\x08\0\x10") + b"\xff\xd9", "the frame header is too short"),
        (with_frame(with_frame(PHOTO, 5, 0), 6, 0), "its header says 200 x 0 pixels"),
        (PHOTO[:2] + segment(0xE0, b"") * 1000 + PHOTO[2:], "there are more than 1000 segments"),
        (SMALL["jpeg420"].replace(b"\xff\xdb\0\x43\0", b"\xff\xdb\0\x43\xff"), "its header is broken"),
        (with_frame(PHOTO, 3, 20), "the frame header has 18 bytes for 3 components"),
        (PHOTO.replace(b"\xff\xdb", b"\xff\xfe"), "quantization table 0x00 was not defined"),
    ],
)
def test_damage_is_refused(data: bytes, reason: str) -> None:
    assert refusal(data) == f"the JPEG is truncated or damaged: {reason}; send the whole file"
