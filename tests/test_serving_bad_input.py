"""What a user of the client reads when a real service refuses what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldwave.client import PredictionClient
from fieldwave.errors import TensorError
from tests.served import affine, pixels, png, png_header, serving, tensor

TAKES = "this model takes 'Placeholder:0' (also 'images', 'Placeholder')"


def jpeg(image: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client() -> Iterator[PredictionClient]:
    with serving() as server, PredictionClient("127.0.0.1", server.port) as opened:
        yield opened


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            {"images": [b"no picture"]},
            "input 'images': not an image: the first bytes are 6e6f207069637475, expected a JPEG or PNG file",
        ),
        (
            {"images": [b""]},
            "input 'images': not an image: there are no bytes, expected a JPEG or PNG file",
        ),
        (
            {"images": [jpeg(pixels()[0])[:-2]]},
            "input 'images': the JPEG is truncated or damaged: it ends before the EOI marker; send the whole file",
        ),
        (
            {"images": [png(pixels()[0])[:-12]]},
            "input 'images': the PNG is truncated or damaged: it ends before the IEND chunk; send the whole file",
        ),
        (
            {"images": [png_header(30_000, 30_000)]},
            "input 'images': the image is 30000 x 30000 pixels, the limit is 40000000 pixels; send a smaller one",
        ),
        (
            {"images": [png(pixels()[0]), b"GIF89a"]},
            "input 'images': image 2 of 2: the image is in GIF format, expected a JPEG or PNG file; convert it",
        ),
        (
            {"images": [png_header(8000, 2501)] * 2},
            "input 'images': the 2 images have 40016000 pixels in all, the limit is 40000000 pixels; "
            "send fewer or smaller ones",
        ),
        ({"imges": tensor()}, f"unknown input 'imges'; {TAKES}"),
        ({}, f"input 'Placeholder:0' is missing; {TAKES}"),
        (
            {"images": np.zeros((1, 5, 4, 3), np.float32)},
            "input 'images': shape [1, 5, 4, 3]; send float32 [N, 4, 5, 3]",
        ),
        (
            {"images": np.zeros((4, 5, 3), np.uint8)},
            "input 'images': shape [4, 5, 3]; send uint8 [N, 4, 5, 3]",
        ),
        (
            {"images": np.zeros((1, 4, 5, 3), np.float64)},
            "input 'images': dtype float64; "
            "send float32 [N, 4, 5, 3] or uint8 [N, 4, 5, 3] or string [N] (image files)",
        ),
        ({"images": tensor(65)}, "input 'images': a batch of 65; send 1 to 64"),
    ],
    ids=[
        "no image",
        "empty",
        "cut JPEG",
        "cut PNG",
        "bomb",
        "second",
        "pixels in all",
        "name",
        "nothing",
        "shape",
        "rank",
        "dtype",
        "batch",
    ],
)
def test_bad_input_is_refused_in_one_line_and_a_good_one_after_it_is_answered(
    client: PredictionClient, inputs: dict[str, Any], text: str
) -> None:
    # TensorError is what the client makes of INVALID_ARGUMENT, and of nothing else.
    with pytest.raises(TensorError) as caught:
        client.score_numpy_arrays(inputs)
    assert str(caught.value) == text
    assert caught.value.__cause__.code().name == "INVALID_ARGUMENT"  # type: ignore[union-attr]
    assert np.array_equal(client.score_numpy_arrays({"images": tensor()}), affine(tensor()))
