"""JPEG files, by libjpeg-turbo."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fieldwave.errors import ImageError
from fieldwave.preprocess.limits import check_pixels

__all__ = ["MAGIC", "decode_jpeg", "promised_size"]

MAGIC = b"\xff\xd8\xff"

_REDUCTIONS = (8, 4, 2)
_MAX_SEGMENTS = 1000
_MAX_SCANS = 100

# FF is followed by 00 where it is data, by FF where it fills, and restart markers have nothing to say here:
# ITU-T T.81, B.1.1.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_EOI, _SOS, _APP14 = 0xD9, 0xDA, 0xEE
_TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, *range(0xE0, 0xF0), 0xFE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN_DCT = {0xC0, 0xC1, 0xC2}
_USUAL_FACTORS = {"1x1", "2x1", "1x2", "2x2", "4x1", "1x4"}


def decode_jpeg(
    data: bytes, channels: int, least: Callable[[int, int], tuple[int, int]] | None = None
) -> NDArray[np.uint8]:
    """Decode a JPEG file to pixels [height, width, channels] in R, G, B order, or grey for one channel.

    The inverse transform is libjpeg's fast integer one and the chroma is upsampled smoothly: TensorFlow's
    choice in ``decode_png``, which the accurate transform does not reproduce. CMYK becomes RGB as there.

    With ``least`` the inverse transform gives 4 x 4, 2 x 2 or 1 x 1 pixels for each 8 x 8 block, the fewest that
    are no less than what ``least`` says for the image's height and width.

    Every warning of the decoder counts as damage: the pixels behind it would be grey or garbage.

    Raises:
        ImageError: truncated, damaged, unsupported or too large.
    """
    header = _read_header(data)
    if header.components == 4 and channels == 1:
        raise ImageError("the JPEG is CMYK and the network takes grey; save it as grey or RGB")
    colours = "CMYK" if header.components == 4 else "GRAY" if channels == 1 else "RGB"
    # A damaged colour profile does not touch the pixels, but the decoder would call the whole file damaged.
    readable = data.replace(b"ICC_PROFILE\0", b"ICC_IGNORED\0")
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            readable, colours, fastdct=True, strict=True, **_reduced(header, least)
        )
    except ValueError as error:
        raise _failure(str(error), header) from error
    return _cmyk_to_rgb(pixels, inverted=header.adobe) if header.components == 4 else pixels


def promised_size(data: bytes) -> tuple[int, int]:
    """Width and height in the first frame header of a JPEG file; 0, 0 if there is none."""
    try:
        for marker, segment in _segments(data):
            if marker in _FRAMES and len(segment) >= 5:
                return int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
    except ImageError:
        pass  # the decoder says it again
    return 0, 0


@dataclass(frozen=True)
class _Header:
    height: int
    width: int
    factors: tuple[str, ...]  # of each component, horizontal x vertical
    adobe: bool  # the Adobe marker is there: CMYK is stored inverted

    @property
    def components(self) -> int:
        return len(self.factors)


def _read_header(data: bytes) -> _Header:
    """Walk the segments up to the end of the image; refuses what is not whole, not supported, or a bomb."""
    factors: tuple[str, ...] = ()
    height = width = 0
    adobe = False
    scans = 0
    for marker, segment in _segments(data):
        if marker in _FRAMES and not factors:
            factors = _read_frame(marker, segment)
            height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
        elif marker == _APP14:
            adobe |= len(segment) >= 12 and segment.startswith(b"Adobe")
        elif marker == _SOS:
            scans += 1
    if not factors:
        raise _damaged("the frame header is missing")
    if scans > _MAX_SCANS:
        raise ImageError(f"the JPEG has {scans} scans, the limit is {_MAX_SCANS} scans; save it as baseline")
    return _Header(height, width, factors, adobe)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the end of the image."""
    position = len(MAGIC) - 1
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None:
            raise _damaged("it ends before the EOI marker")
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            return
        if marker not in _TABLES and marker not in _FRAMES and marker != _SOS:
            continue
        end = position + max(2, int.from_bytes(data[position : position + 2], "big"))
        if end > len(data):
            raise _damaged("it ends before the EOI marker")
        yield marker, data[position + 2 : end]
        position = end
    raise _damaged(f"there are more than {_MAX_SEGMENTS} segments")


def _read_frame(marker: int, segment: bytes) -> tuple[str, ...]:
    """The sampling factors; the size is checked at once, before anything else is looked at."""
    if len(segment) < 6:
        raise _damaged("the frame header is too short")
    bits, components = segment[0], segment[5]
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    check_pixels(width, height)
    if marker not in _HUFFMAN_DCT or bits != 8 or components not in (1, 3, 4):
        raise ImageError(
            f"the JPEG is of an unsupported kind (SOF{marker - 0xC0}, {bits} bits, {components} components); "
            "save it as baseline or progressive with 8 bits, grey, RGB or CMYK"
        )
    if not height or not width:
        raise _damaged(f"its header says {width} x {height} pixels")
    if len(segment) != 6 + 3 * components:
        raise _damaged(f"the frame header has {len(segment)} bytes for {components} components")
    return tuple(f"{factor >> 4}x{factor & 15}" for factor in segment[7::3])


def _reduced(header: _Header, least: Callable[[int, int], tuple[int, int]] | None) -> dict[str, int]:
    """What makes the decoder choose the reduction: it takes the smallest image that has no fewer pixels."""
    if least is None:
        return {}
    height, width = least(header.height, header.width)
    for factor in _REDUCTIONS:
        kept_height, kept_width = -(-header.height // factor), -(-header.width // factor)
        if kept_height >= height and kept_width >= width:
            return {"min_height": kept_height, "min_width": kept_width, "min_factor": factor}
    return {}


def _cmyk_to_rgb(cmyk: NDArray[np.uint8], *, inverted: bool) -> NDArray[np.uint8]:
    """R = C*K/255 and so on, truncated, where C, M, Y and K count light: what TensorFlow computes."""
    light = cmyk if inverted else 255 - cmyk
    black = light[..., 3].astype(np.uint16)
    rgb = np.empty((*cmyk.shape[:2], 3), np.uint8)
    for c in range(3):
        rgb[..., c] = light[..., c] * black // 255
    return rgb


def _failure(reason: str, header: _Header) -> ImageError:
    if "subsampling" not in reason:
        return _damaged(reason[:1].lower() + reason[1:])
    # Said of any header that cannot be read.
    if header.factors[0] in _USUAL_FACTORS and set(header.factors[1:3]) <= {"1x1"}:
        return _damaged("its header is broken")
    return ImageError(
        f"the JPEG has the unusual sampling factors {' '.join(header.factors)}; save it as 4:2:0, 4:2:2 or 4:4:4"
    )


def _damaged(reason: str) -> ImageError:
    return ImageError(f"the JPEG is truncated or damaged: {reason}; send the whole file")
