"""Scaled decoding: which reduction, which pixels, and the same bits wherever a package says so."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fieldwave.client import PredictionClient
from fieldwave.conversion import Conversion, convert
from fieldwave.errors import InputError
from fieldwave.package import Package, read_package, write_package
from fieldwave.package.manifest import PreprocessingModel
from fieldwave.preprocess import Preprocessing, decode, preprocess
from fieldwave.preprocess.bilinear import resize, resized_size
from fieldwave.serving import ServeOptions, Server
from fieldwave.zoo import digit_png, digits_images
from tests.served import IMAGES as NETWORK
from tests.served import INPUT, SCORES, Affine

PHOTOGRAPH = sorted((Path(__file__).parent / "data" / "images").glob("*.jpg"))[0]


def jpeg(width: int, height: int, **options: int) -> bytes:
    """The photograph at that size."""
    buffer = io.BytesIO()
    with Image.open(PHOTOGRAPH) as image:
        image.convert("RGB").resize((width, height)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["crop", "stretch"]),
    st.sampled_from([0, 1, 2]),
)
def test_the_fewest_pixels_that_are_enough_are_decoded(
    height: int, width: int, rows: int, columns: int, how: str, subsampling: int
) -> None:
    spec = Preprocessing(rows, columns, resize=how, shortest_side=32, decode="scaled")  # type: ignore[arg-type]
    data = jpeg(width, height, subsampling=subsampling)
    least = partial(resized_size, spec=spec)
    enough = least(height, width)
    kept = [(-(-height // factor), -(-width // factor)) for factor in (8, 4, 2, 1)]
    expected = next((size for size in kept if size[0] >= enough[0] and size[1] >= enough[1]), kept[-1])
    pixels = decode(data, "RGB", least)
    assert pixels.shape == (*expected, 3)
    whole = resize(pixels, spec) - np.array(spec.mean, np.float32)
    assert np.array_equal(preprocess(data, spec), whole)


def test_a_pixel_is_about_the_mean_of_those_that_it_stands_for() -> None:
    data = jpeg(640, 480, quality=95, subsampling=0)
    full = decode(data, "RGB").astype(np.float64)
    for factor in (2, 4, 8):
        size = 480 // factor, 640 // factor
        scaled = decode(data, "RGB", lambda height, width, size=size: size).astype(np.float64)
        means = full.reshape(size[0], factor, size[1], factor, 3).mean((1, 3))
        assert np.abs(scaled - means).mean() < 2.0


def test_what_is_not_large_and_what_is_no_jpeg_is_decoded_in_full() -> None:
    spec = Preprocessing(224, 224, decode="scaled")
    full = replace(spec, decode="full")
    small = jpeg(500, 300)
    assert np.array_equal(preprocess(small, spec), preprocess(small, full))
    buffer = io.BytesIO()
    with Image.open(PHOTOGRAPH) as image:
        image.convert("RGB").resize((1200, 900)).save(buffer, "PNG")
    assert np.array_equal(preprocess(buffer.getvalue(), spec), preprocess(buffer.getvalue(), full))
    large = jpeg(1200, 900)
    assert not np.array_equal(preprocess(large, spec), preprocess(large, full))


def test_another_way_of_decoding_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        Preprocessing(224, 224, decode="half")  # type: ignore[arg-type]
    assert str(caught.value) == "the decoding is 'half', expected 'full' or 'scaled'"


def packaged(folder: Path, images: Preprocessing) -> Package:
    return write_package(
        folder / f"{images.decode}.zip",
        network="affine",
        model=b"none",
        inputs=(INPUT,),
        outputs=(SCORES,),
        preprocessing=images,
    )


def test_the_manifest_says_so_and_without_a_word_it_is_full(tmp_path: Path) -> None:
    scaled = packaged(tmp_path, replace(NETWORK, decode="scaled"))
    assert json.loads(scaled.manifest.to_json())["preprocessing"]["decode"] == "scaled"
    assert read_package(tmp_path / "scaled.zip").preprocessing == replace(NETWORK, decode="scaled")
    full = json.loads(packaged(tmp_path, NETWORK).manifest.to_json())["preprocessing"]
    assert "decode" not in full  # as it was before there was a choice: the same bytes, the same digest
    assert PreprocessingModel.model_validate(full).preprocessing() == NETWORK


@pytest.mark.parametrize("way", ["full", "scaled"])
def test_a_service_and_its_client_make_the_same_bits(way: str, tmp_path: Path) -> None:
    spec = replace(NETWORK, decode=way)  # type: ignore[arg-type]
    package, data = packaged(tmp_path, spec), jpeg(640, 480)
    with (
        Server(ServeOptions(package=package, grpc_port=0), Affine()) as server,
        PredictionClient("127.0.0.1", server.port) as client,
    ):
        there = client.score_image(data)
        here = client.score_numpy_arrays(package.image_input(data))
    assert isinstance(there, np.ndarray)
    assert isinstance(here, np.ndarray)
    assert there.tobytes() == here.reshape(there.shape).tobytes()


def test_a_conversion_declares_it_and_calibrates_with_it(digits: Conversion, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(digits_images().calibration_images[:16]):
        (folder / f"{number:02d}.jpg").write_bytes(enlarged(digit_png(image)))
    made = {
        way: convert("digits", calibration=folder, output=tmp_path / f"{way}.zip", decode=way)  # type: ignore[arg-type]
        for way in ("full", "scaled")
    }
    specs = {way: read_package(one.path).preprocessing for way, one in made.items()}
    assert specs["full"] == digits.package.preprocessing
    assert specs["scaled"] == replace(specs["full"], decode="scaled")  # type: ignore[type-var]
    assert made["full"].package.model != made["scaled"].package.model


def enlarged(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        larger: NDArray[np.uint8] = np.asarray(image.resize((100, 100), Image.Resampling.BICUBIC))
        Image.fromarray(larger).save(buffer, "JPEG")
    return buffer.getvalue()
