"""preprocess/ against the retired service's own graph, run by TensorFlow: every photograph, pixels and floats."""

from __future__ import annotations

import os
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldwave.errors import ImageError, InputError
from fieldwave.preprocess import Preprocessing, decode, preprocess

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
DATA = Path(__file__).parent / "data"
PHOTOGRAPHS = sorted((DATA / "images").glob("*.jpg"))
KINDS = sorted((DATA / "preprocess").iterdir())
ROAD: list[tuple[dict[str, Any], dict[str, Any]]] = [  # the graph's arguments, and ours
    ({}, {}),
    ({"order": "BGR"}, {"order": "BGR"}),
    ({"scaling_factor": 0.017}, {"scale": 0.017}),
    ({"order": "BGR", "scaling_factor": 0.017}, {"order": "BGR", "scale": 0.017}),
    (
        {"output_height": 300, "output_width": 300, "preserve_aspect_ratio": False},
        {"height": 300, "width": 300, "resize": "stretch"},
    ),
    (
        {"output_height": 120, "output_width": 320, "preserve_aspect_ratio": False, "order": "BGR"},
        {"height": 120, "width": 320, "resize": "stretch", "order": "BGR"},
    ),
    ({"output_height": 100, "output_width": 100}, {"height": 100, "width": 100}),
]


@pytest.fixture(scope="module")
def graph() -> Any:
    """The graph's module, with TensorFlow behind it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorflow", reason="TensorFlow is the reference: pip install tensorflow-cpu")
        from tests.reference import preprocess_graph
    return preprocess_graph


@pytest.fixture(scope="module")
def lossless() -> list[bytes]:
    """The photographs' pixels as PNG, which every decoder reads alike."""
    return [png(decode(path.read_bytes(), "RGB")) for path in PHOTOGRAPHS]


def spec(**changes: Any) -> Preprocessing:
    return Preprocessing(**{"height": 224, "width": 224, **changes})


def png(pixels: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_the_photographs_are_square_and_not(graph: Any) -> None:
    shapes = {decode(path.read_bytes(), "RGB").shape[:2] for path in PHOTOGRAPHS}
    assert len(PHOTOGRAPHS) == 10
    assert {np.sign(height - width) for height, width in shapes} == {-1, 0, 1}


def test_decoded_pixels_are_at_most_one_level_apart(graph: Any) -> None:
    for path in [*PHOTOGRAPHS, *KINDS]:
        ours, theirs = decode(path.read_bytes(), "RGB"), graph.decode(path.read_bytes())
        assert ours.shape == theirs.shape, path.name
        assert np.abs(ours.astype(int) - theirs).max() <= 1, path.name


@pytest.mark.parametrize(("theirs", "ours"), ROAD, ids=lambda one: ",".join(map(str, one.values())) or "-")
def test_from_the_same_pixels_no_float_differs(
    graph: Any, lossless: list[bytes], theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    expected = graph.run(lossless, **theirs)
    for path, data, floats in zip(PHOTOGRAPHS, lossless, expected, strict=True):
        made = preprocess(data, spec(**ours))
        assert made.dtype == floats.dtype and made.shape == floats.shape
        assert np.count_nonzero(made != floats) == 0, path.name


def test_from_the_jpeg_files_themselves_no_float_differs_either(graph: Any) -> None:
    files = [path.read_bytes() for path in PHOTOGRAPHS]
    for theirs, ours in (ROAD[0], ROAD[4]):
        expected = graph.run(files, **theirs)
        assert np.array_equal(np.stack([preprocess(data, spec(**ours)) for data in files]), expected)


def test_alpha_grey_palette_16_bits_interlaced_cmyk(graph: Any) -> None:
    """One small image of each kind: [grey, alpha, palette, ...] x [PNG, JPEG]."""
    files = [path.read_bytes() for path in KINDS if path.stem not in ("pixel", "column")]
    assert len(files) > 30
    for theirs, ours in (ROAD[0], ROAD[4]):
        expected = graph.run(files, **theirs)
        assert np.array_equal(np.stack([preprocess(data, spec(**ours)) for data in files]), expected)


PHOTO = (DATA / "images" / "meeting.jpg").read_bytes()
PICTURE = (DATA / "preprocess" / "rgb8.png").read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text",
        PHOTO[:1000],
        PHOTO[: len(PHOTO) // 2],
        PICTURE[:40],
        PICTURE[: len(PICTURE) // 2],
        PICTURE[:100] + bytes([PICTURE[100] ^ 1]) + PICTURE[101:],
    ],
    ids=["nothing", "text", "jpeg's head", "half a jpeg", "png's head", "half a png", "a flipped bit"],
)
def test_what_the_graph_refuses_we_refuse(graph: Any, data: bytes) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        graph.run([data])
    with pytest.raises(ImageError):
        preprocess(data, spec())


def test_another_order(graph: Any) -> None:
    with pytest.raises(ValueError, match=r"^can only construct in RGB or BGR order\.$"):
        graph.run([PICTURE], order="GBR")
    with pytest.raises(InputError, match=r"^the channel order is 'GBR', expected 'RGB', 'BGR' or 'GRAY'$"):
        spec(order="GBR")


def test_where_a_rounding_error_makes_the_graph_fail_we_resize_by_one_pixel_more(graph: Any) -> None:
    """256 / side * side may be just less than 256 in float32, and is cut to 255: too small for a crop of 256."""
    import tensorflow as tf

    side = next(s for s in range(257, 4000) if int(np.float32(s) * (np.float32(256) / np.float32(s))) == 255)
    data = png(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Crop size greater than the image size\."):
        graph.run([data], output_height=256, output_width=256)
    assert preprocess(data, spec(height=256, width=256)).shape == (256, 256, 3)
    expected = graph.run([data], output_height=255, output_width=255)
    assert np.array_equal(preprocess(data, spec(height=255, width=255)), expected[0])


def test_where_the_graph_ignores_the_size_it_is_honoured(graph: Any) -> None:
    """The graph's crop is always square and at most 256."""
    assert graph.run([PICTURE], output_height=224, output_width=100).shape == (1, 224, 224, 3)
    assert graph.run([PICTURE], output_height=300, output_width=300).shape == (1, 256, 256, 3)
    assert preprocess(PICTURE, spec(height=224, width=100)).shape == (224, 100, 3)
    assert preprocess(PICTURE, spec(height=300, width=300)).shape == (300, 300, 3)
