"""preprocess/pipeline.py: mean, order and scale, and the whole way."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from fieldwave.errors import ImageError, TensorError
from fieldwave.preprocess import Preprocessing, decode, normalise, preprocess

IMAGES = sorted((Path(__file__).parent / "data" / "images").glob("*.jpg"))
MEAN = (123.68, 116.779, 103.939)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, (2, 5, 7, 3)), st.sampled_from(["RGB", "BGR"]), st.sampled_from([1.0, 0.017]))
def test_normalise_is_mean_then_order_then_scale(pixels: Any, order: Any, scale: float) -> None:
    spec = Preprocessing(5, 7, order=order, scale=scale)
    planes = [pixels[..., c].astype(np.float32) - np.float32(MEAN[c]) for c in range(3)]
    values = np.stack(planes[::-1] if order == "BGR" else planes, axis=-1) * np.float32(scale)
    result = normalise(pixels, spec)
    assert np.array_equal(result, values)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


def test_normalise_leaves_the_pixels_alone() -> None:
    pixels = np.full((2, 2, 1), 16, np.uint8)
    spec = Preprocessing(2, 2, order="GRAY", mean=(8.0,), scale=0.5)
    assert normalise(pixels, spec).tolist() == [[[4.0]] * 2] * 2
    assert pixels.tolist() == [[[16]] * 2] * 2


@pytest.mark.parametrize("shape", [(224, 224, 3), (1, 224, 224, 3), (0, 224, 224, 3), (2, 3, 224, 224, 3)])
def test_normalise_takes_any_number_of_images(shape: tuple[int, ...]) -> None:
    assert normalise(np.zeros(shape, np.uint8), Preprocessing(224, 224)).shape == shape


@pytest.mark.parametrize(
    ("pixels", "given_as"),
    [
        (np.zeros((1, 224, 225, 3), np.uint8), "uint8 [1, 224, 225, 3]"),
        (np.zeros((224, 224), np.uint8), "uint8 [224, 224]"),
        (np.zeros((224, 224, 3), np.float32), "float32 [224, 224, 3]"),
        (np.zeros((), np.uint8), "uint8 []"),
    ],
)
def test_normalise_refuses_other_tensors(pixels: Any, given_as: str) -> None:
    with pytest.raises(TensorError) as caught:
        normalise(pixels, Preprocessing(224, 224))
    assert str(caught.value) == f"the pixels are {given_as}, expected uint8 [..., 224, 224, 3]"


@pytest.mark.parametrize("order", ["RGB", "BGR", "GRAY"])
def test_an_image_of_the_networks_size_is_only_normalised(order: Any) -> None:
    data = IMAGES[0].read_bytes()
    pixels = decode(data, order)
    height, width, channels = pixels.shape
    spec = Preprocessing(height, width, order=order, resize="stretch", mean=MEAN[:channels], scale=0.5)
    assert np.array_equal(preprocess(data, spec), normalise(pixels, spec))


def test_bgr_is_rgb_reversed() -> None:
    data = IMAGES[0].read_bytes()
    rgb = preprocess(data, Preprocessing(97, 240))
    bgr = preprocess(data, Preprocessing(97, 240, order="BGR"))
    assert np.array_equal(bgr, rgb[..., ::-1])
    assert bgr.flags.c_contiguous


def test_png_and_jpeg_of_the_same_pixels_give_the_same_tensor() -> None:
    data = IMAGES[0].read_bytes()
    png = io.BytesIO()
    Image.fromarray(decode(data, "RGB")).save(png, "PNG")
    spec = Preprocessing(224, 224)
    assert np.array_equal(preprocess(png.getvalue(), spec), preprocess(data, spec))


def test_errors_pass_through() -> None:
    with pytest.raises(ImageError) as caught:
        preprocess(b"hello", Preprocessing(224, 224))
    assert str(caught.value) == ("not an image: the first bytes are 68656c6c6f, expected a JPEG or PNG file")


def test_threads_do_not_disturb_each_other() -> None:
    spec = Preprocessing(224, 224)
    files = [path.read_bytes() for path in IMAGES]
    alone = [preprocess(data, spec) for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: preprocess(data, spec), files * 4))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 4, together, strict=True))
