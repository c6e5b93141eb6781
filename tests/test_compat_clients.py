"""Clients that were written for the retired service, as their requests are on the wire."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldwave.keys import Keys, write_keys
from fieldwave.preprocess import preprocess
from fieldwave.wire.messages import PredictRequest, PredictResponse
from tests.served import IMAGES, Affine, affine, channel, png, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
ROUTE = ("x-ms-aml-grpc-service-route", "/api/v1/service/my-aks-service")
DT_FLOAT, DT_STRING = 1, 7


def ask(opened: Any, request: PredictRequest, *metadata: tuple[str, str]) -> PredictResponse:
    answer = opened.unary_unary(PREDICT)(request.SerializeToString(), timeout=30, metadata=(ROUTE, *metadata))
    return PredictResponse.FromString(answer)


def files(*images: bytes, name: str = "Placeholder:0") -> PredictRequest:
    """Image files: one string tensor, nothing said of the model."""
    request = PredictRequest()
    request.inputs[name].dtype = DT_STRING
    request.inputs[name].tensor_shape.dim.add().size = len(images)
    request.inputs[name].string_val.extend(images)
    return request


def floats(values: Any, name: str = "Placeholder:0", *, as_content: bool = False) -> PredictRequest:
    request = PredictRequest()
    request.inputs[name].dtype = DT_FLOAT
    for size in values.shape:
        request.inputs[name].tensor_shape.dim.add().size = size
    if as_content:
        request.inputs[name].tensor_content = values.tobytes()
    else:
        request.inputs[name].float_val.extend(values.ravel().tolist())
    return request


def scores(response: PredictResponse, name: str) -> Any:
    found = response.outputs[name]
    assert not found.tensor_content  # the C# client reads float_val alone
    return np.array(found.float_val, np.float32).reshape([dim.size for dim in found.tensor_shape.dim])


@pytest.fixture(scope="module")
def server() -> Any:
    with serving(Affine()) as running:
        yield running


def test_csharp_streams_of_image_files(server: Any) -> None:
    pictures = [png(np.full((4, 5, 3), level, np.uint8)) for level in (0, 100, 200)]
    with channel(server) as opened:
        answer = ask(opened, files(*pictures), ("authorization", "bearer "))
    expected = affine(np.stack([preprocess(picture, IMAGES) for picture in pictures]))
    np.testing.assert_array_equal(scores(answer, "classifier/Softmax:0"), expected)


def test_csharp_floats_one_by_one(server: Any) -> None:
    values = tensor(batch=2)
    with channel(server) as opened:
        answer = ask(opened, floats(values))
    np.testing.assert_array_equal(scores(answer, "classifier/Softmax:0"), affine(values))


def test_the_previews_names(server: Any) -> None:
    picture = png(np.full((4, 5, 3), 7, np.uint8))
    with channel(server) as opened:
        answer = ask(opened, files(picture, name="images"))
    expected = affine(preprocess(picture, IMAGES)[np.newaxis])
    np.testing.assert_array_equal(scores(answer, "output_alias"), expected)


def test_physicists_features_many_calls_at_once(server: Any) -> None:
    """Asynchronous calls with the tensor's bytes, an answer each in its own time."""
    batches = [tensor(seed=seed) for seed in range(4)]
    with channel(server) as opened:
        call = opened.unary_unary(PREDICT)
        waiting = [
            call.future(
                floats(each, "images", as_content=True).SerializeToString(), timeout=30, wait_for_ready=True
            )
            for each in batches
        ]
        for each, future in zip(batches, waiting, strict=True):
            answer = PredictResponse.FromString(future.result())
            np.testing.assert_array_equal(scores(answer, "output_alias"), affine(each))


@pytest.mark.parametrize("authorization", ["Bearer {}", "bearer {}", "{}"], ids=["Python", "C#", "the preview"])
def test_the_key_as_each_of_them_sends_it(tmp_path: Path, authorization: str) -> None:
    keys = Keys.generate()
    write_keys(tmp_path / "keys", keys)
    values = tensor()
    with serving(Affine(), keys=tmp_path / "keys") as running, channel(running) as opened:
        for key in (keys.primary, keys.secondary):
            answer = ask(opened, floats(values), ("authorization", authorization.format(key)))
            np.testing.assert_array_equal(scores(answer, "classifier/Softmax:0"), affine(values))
