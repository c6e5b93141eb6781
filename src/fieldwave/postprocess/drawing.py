"""Boxes with their labels on a picture, legible on any background.

A box is a light line with a dark rim, so that it is seen on light and on dark; a class has its own hue. Shapes are
painted by their signed distance, which smooths their edges, and along their edges only, so that the size of the
picture costs nothing but its copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.postprocess.detection import Detection

__all__ = ["draw"]

Pixels = NDArray[np.uint8]
Colour = tuple[float, float, float]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_INK: Colour = (16.0, 16.0, 20.0)
_RIM_OPACITY = 0.55
_LONGEST_LABEL = 40


def draw(pixels: Pixels, detections: Sequence[Detection]) -> Pixels:
    """A copy of a picture with the box, the label and the score of each object, the likeliest on top.

    Lines and letters grow with the picture. Labels stand above their boxes, or wherever else at their corners
    there is room and no other label.

    Args:
        pixels: [height, width, 3], R, G, B.
        detections: the likeliest first.

    Raises:
        TensorError: the picture has another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        shape = ", ".join(str(size) for size in pixels.shape)
        raise TensorError(f"the picture is {pixels.dtype} [{shape}], expected uint8 [height, width, 3]")
    canvas = pixels.copy()
    height, width = canvas.shape[:2]
    pen = _Pen.of(width, height)
    frames = [_within(one.box.pixels(width, height), (width, height), pen.line / 2) for one in detections]
    for one, frame in zip(reversed(detections), reversed(frames), strict=True):
        _paint_frame(canvas, frame, colour_of(one.index), pen)
    texts = [_text(one, pen) for one in detections]
    taken: list[Rectangle] = []
    for text, frame in zip(texts, frames, strict=True):
        size = (text.shape[1] + 2 * pen.padding, text.shape[0] + 2 * pen.padding)
        taken.append(_place(frame, size, (width, height), taken, pen))
    for one, text, tag in zip(reversed(detections), reversed(texts), reversed(taken), strict=True):
        _paint_tag(canvas, tag, text, colour_of(one.index), pen)
    return canvas


def colour_of(index: int) -> Colour:
    """A light colour for a class: hues a golden angle apart, so that neighbours differ most, at one lightness.

    OKLCH (B. Ottosson, 2020) to sRGB.
    """
    hue = math.radians(20 + 137.508 * index)
    lightness, a, b = 0.8, 0.17 * math.cos(hue), 0.17 * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    red, green, blue = (255 * _gamma(min(max(value, 0.0), 1.0)) for value in linear)
    return red, green, blue


def _gamma(value: float) -> float:
    return float(12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class _Pen:
    """Measures in pixels for a picture of one size."""

    line: float
    rim: float
    radius: float
    padding: int
    letters: int

    @classmethod
    def of(cls, width: int, height: int) -> _Pen:
        unit = min(max(math.sqrt(width * height) / 200, 2.0), 16.0)
        return cls(
            line=unit,
            rim=max(unit / 3, 1.0),
            radius=1.5 * unit,
            padding=max(round(1.2 * unit), 2),
            letters=max(round(5.2 * unit), 10),
        )


def _within(frame: Rectangle, picture: tuple[int, int], margin: float) -> Rectangle:
    """The frame with its line inside of the picture."""
    left, top, right, bottom = frame
    width, height = picture
    return max(left, margin), max(top, margin), min(right, width - margin), min(bottom, height - margin)


def _text(one: Detection, pen: _Pen) -> NDArray[np.float64]:
    """The coverage, 0 to 1, of the label and the score, as high as the font's line."""
    from PIL import Image, ImageDraw, ImageFont

    label = " ".join(one.label.split())
    label = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
    text = f"{label} {one.score:.0%}"
    font = ImageFont.load_default(pen.letters)
    left, top, right, bottom = (round(edge) for edge in font.getbbox("Agjp" + text))
    _, _, right, _ = (math.ceil(edge) for edge in font.getbbox(text))
    tile = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(tile).text((-left, -top), text, fill=255, font=font)
    return np.asarray(tile, np.float64) / 255


def _place(
    frame: Rectangle, size: tuple[int, int], picture: tuple[int, int], taken: Sequence[Rectangle], pen: _Pen
) -> Rectangle:
    """Where a label goes: inside of the picture as far as it fits, and off the other labels if it can be."""
    left, top, right, bottom = frame
    width, height = size
    reach = pen.line / 2
    corners = [
        (left - reach, top - reach - height),
        (left - reach, top - reach),
        (right + reach - width, top - reach - height),
        (right + reach - width, top - reach),
        (left - reach, bottom + reach),
        (left - reach, bottom + reach - height),
        (right + reach - width, bottom + reach),
        (right + reach - width, bottom + reach - height),
    ]
    places = [_inside((round(x), round(y), round(x) + width, round(y) + height), picture) for x, y in corners]
    whole = [place for place, (_, y) in zip(places, corners, strict=True) if abs(place[1] - y) < 1] or places
    return next((place for place in whole if not any(_touch(place, other) for other in taken)), whole[0])


def _inside(tag: Rectangle, picture: tuple[int, int]) -> Rectangle:
    left, top, right, bottom = tag
    x = max(min(0.0, picture[0] - right), -left) if right > picture[0] or left < 0 else 0.0
    y = max(min(0.0, picture[1] - bottom), -top) if bottom > picture[1] or top < 0 else 0.0
    return left + x, top + y, right + x, bottom + y


def _touch(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _paint_frame(canvas: Pixels, frame: Rectangle, colour: Colour, pen: _Pen) -> None:
    for region in _edges(canvas, frame, pen.line + pen.rim + pen.radius + 1):
        distance = np.abs(_distance(region, frame, pen.radius)) - pen.line / 2
        _blend(canvas, region, _INK, _RIM_OPACITY * _coverage(distance - pen.rim))
        _blend(canvas, region, colour, _coverage(distance))


def _paint_tag(canvas: Pixels, tag: Rectangle, text: NDArray[np.float64], colour: Colour, pen: _Pen) -> None:
    grown = math.ceil(pen.rim) + 1
    region = _clipped(canvas, (tag[0] - grown, tag[1] - grown, tag[2] + grown, tag[3] + grown))
    distance = _distance(region, tag, pen.radius)
    _blend(canvas, region, _INK, _RIM_OPACITY * _coverage(distance - pen.rim))
    _blend(canvas, region, colour, _coverage(distance))
    left, top = round(tag[0]) + pen.padding, round(tag[1]) + pen.padding
    region = _clipped(canvas, (left, top, left + text.shape[1], top + text.shape[0]))
    (y0, y1), (x0, x1) = ((side.start, side.stop) for side in region)
    _blend(canvas, region, _INK, text[y0 - top : y1 - top, x0 - left : x1 - left])


Region = tuple[slice, slice]  # rows, columns


def _edges(canvas: Pixels, frame: Rectangle, reach: float) -> Iterator[Region]:
    """The parts of the canvas near the edges of a rectangle, each pixel once."""
    left, top, right, bottom = frame
    above, below = min(top + reach, (top + bottom) / 2), max(bottom - reach, (top + bottom) / 2)
    beside, beyond = min(left + reach, (left + right) / 2), max(right - reach, (left + right) / 2)
    yield _clipped(canvas, (left - reach, top - reach, right + reach, above))
    yield _clipped(canvas, (left - reach, below, right + reach, bottom + reach))
    yield _clipped(canvas, (left - reach, above, beside, below))
    yield _clipped(canvas, (beyond, above, right + reach, below))


def _clipped(canvas: Pixels, rectangle: Rectangle) -> Region:
    height, width = canvas.shape[:2]
    left, top, right, bottom = (math.floor(edge) for edge in rectangle)
    rows = slice(min(max(top, 0), height), min(max(bottom, 0), height))
    columns = slice(min(max(left, 0), width), min(max(right, 0), width))
    return rows, columns


def _distance(region: Region, rectangle: Rectangle, radius: float) -> NDArray[np.float64]:
    """From each pixel's centre to the edge of a rectangle with round corners; negative inside."""
    left, top, right, bottom = rectangle
    rows, columns = region
    x = np.arange(columns.start, columns.stop, dtype=np.float64) + 0.5
    y = np.arange(rows.start, rows.stop, dtype=np.float64)[:, np.newaxis] + 0.5
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    across = np.abs(x - (left + right) / 2) - ((right - left) / 2 - radius)
    along = np.abs(y - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
    outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    distance: NDArray[np.float64] = outside + np.minimum(np.maximum(across, along), 0) - radius
    return distance


def _coverage(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(0.5 - distance, 0, 1))


def _blend(canvas: Pixels, region: Region, colour: Colour, opacity: NDArray[np.float64]) -> None:
    under = canvas[region].astype(np.float64)
    under += (np.array(colour) - under) * opacity[..., np.newaxis]
    canvas[region] = np.rint(under)
