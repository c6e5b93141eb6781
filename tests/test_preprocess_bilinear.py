"""preprocess/bilinear.py: the legacy kernel, value by value, and which part of the image a crop keeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave.preprocess import Preprocessing
from fieldwave.preprocess.bilinear import resize

FLOAT = np.float32


def image(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def spec(height: int, width: int, **values: Any) -> Preprocessing:
    if values.get("order") == "GRAY":
        values["mean"] = (0.0,)
    return Preprocessing(height, width, **values)


def legacy_bilinear(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """The definition, one value at a time, of the whole image."""
    rows, columns, channels = pixels.shape
    result = np.empty((height, width, channels), np.float32)
    for y, x, c in np.ndindex(height, width, channels):
        at_y, at_x = FLOAT(y) * (FLOAT(rows) / FLOAT(height)), FLOAT(x) * (FLOAT(columns) / FLOAT(width))
        top, left = math.floor(at_y), math.floor(at_x)
        bottom, right = min(math.ceil(at_y), rows - 1), min(math.ceil(at_x), columns - 1)
        dy, dx = at_y - FLOAT(top), at_x - FLOAT(left)
        tl, tr, bl, br = (FLOAT(pixels[i, j, c]) for i in (top, bottom) for j in (left, right))
        above, below = tl + (tr - tl) * dx, bl + (br - bl) * dx
        result[y, x, c] = above + (below - above) * dy
    return result


def test_no_half_pixel_centres() -> None:
    line = np.array([[[0], [100]]], np.uint8)
    assert resize(line, spec(1, 4, resize="stretch", order="GRAY")).ravel().tolist() == [0, 50, 100, 100]


def test_no_antialiasing() -> None:
    line = np.arange(0, 250, 10, np.uint8).reshape(1, 25, 1)
    assert resize(line, spec(1, 5, resize="stretch", order="GRAY")).ravel().tolist() == [0, 50, 100, 150, 200]


def test_the_same_size_changes_nothing() -> None:
    pixels = image(33, 47)
    assert np.array_equal(resize(pixels, spec(33, 47, resize="stretch")), pixels)


sizes = st.integers(1, 12)


@settings(deadline=None)
@given(sizes, sizes, sizes, sizes, st.sampled_from(["RGB", "BGR", "GRAY"]))
def test_stretch_equals_the_definition(rows: int, columns: int, height: int, width: int, order: str) -> None:
    pixels = image(rows, columns, 1 if order == "GRAY" else 3)
    result = resize(pixels, spec(height, width, resize="stretch", order=order))
    whole = legacy_bilinear(pixels, height, width)
    assert np.array_equal(result, whole[..., ::-1] if order == "BGR" else whole)


@settings(deadline=None)
@given(sizes, sizes, sizes, sizes, st.integers(1, 16))
def test_crop_equals_the_centre_of_the_definition(
    rows: int, columns: int, height: int, width: int, shortest_side: int
) -> None:
    pixels = image(rows, columns)
    whole = legacy_bilinear(pixels, *resized(rows, columns, height, width, shortest_side))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    result = resize(pixels, spec(height, width, shortest_side=shortest_side))
    assert np.array_equal(result, whole[top : top + height, left : left + width])


def resized(rows: int, columns: int, height: int, width: int, side: int) -> tuple[int, int]:
    """The first side, from ``side`` up, with which both dimensions cover the crop."""
    while True:
        scale = FLOAT(side) / FLOAT(min(rows, columns))
        size = int(FLOAT(rows) * scale), int(FLOAT(columns) * scale)
        if size[0] >= height and size[1] >= width:
            return size
        side += 1


@pytest.mark.parametrize(
    ("shape", "crop", "shortest_side"),
    [
        ((300, 200), (256, 256), 256),  # covers exactly
        ((480, 640), (300, 300), 256),  # higher than the shortest side
        ((480, 640), (224, 448), 256),  # wider than the resized image
        ((640, 480), (448, 224), 256),
        ((1, 1), (224, 224), 1),
        ((3, 90), (224, 224), 256),
        ((77, 83), (256, 256), 256),  # float32 truncates 77 * (256 / 77) to a pixel less
    ],
)
def test_the_shortest_side_grows_until_the_crop_is_covered(
    shape: tuple[int, int], crop: tuple[int, int], shortest_side: int
) -> None:
    # An image of coordinates: the crop of a covered image never repeats its border.
    y, x = np.meshgrid(*(np.linspace(0, 255, size).astype(np.uint8) for size in shape), indexing="ij")
    pixels = np.stack([y, x, x], axis=2)
    result = resize(pixels, spec(*crop, shortest_side=shortest_side))
    assert result.shape == (*crop, 3)
    assert result.dtype == np.float32
    height, width = resized(*shape, *crop, shortest_side)
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    columns = legacy_bilinear(pixels[:1], 1, width)[0, left : left + crop[1], 1]
    rows = legacy_bilinear(pixels[:, :1], height, 1)[top : top + crop[0], 0, 0]
    assert np.array_equal(result[0, :, 1], columns)
    assert np.array_equal(result[:, 0, 0], rows)


@pytest.mark.parametrize("shape", [(1, 2_000_000), (2_000_000, 1)])
def test_a_line_of_an_image_costs_no_more_than_its_pixels(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 7, np.uint8)
    for each in (spec(32, 32), spec(32, 32, resize="stretch")):
        assert np.array_equal(resize(pixels, each), np.full((32, 32, 3), 7))
