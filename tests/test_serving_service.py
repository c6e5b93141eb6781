from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from fieldwave.serving.answered import Answered
from fieldwave.serving.execution import Executor
from fieldwave.serving.grpc_methods import GrpcMethods
from fieldwave.serving.metrics import Metrics
from fieldwave.serving.models import Models
from fieldwave.serving.places import Places
from fieldwave.serving.predictor import Model, Predictor
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.service import PredictionService
from fieldwave.serving.signature import Signature
from fieldwave.wire.requests import encode_request
from tests.served import Affine, package, pixels, png


class Aborted(Exception):
    pass


class Leaving:
    """The context of a call whose caller goes away once it has been asked for ``questions`` times."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def is_active(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "unix:"

    def invocation_metadata(self) -> tuple[Any, ...]:
        return ()

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Aborted(code)


@pytest.mark.parametrize(
    ("questions", "code"),
    [(3, grpc.StatusCode.DEADLINE_EXCEEDED), (4, grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_images_are_decoded_only_while_the_caller_waits(questions: int, code: grpc.StatusCode) -> None:
    loaded, device = package(), Affine()
    device.load(loaded)
    metrics = Metrics()
    predictor = Predictor(Model(Signature.of(loaded)), places=Places(1), metrics=metrics)
    predictor.executor = Executor(device)
    methods = GrpcMethods(Receiving(1, 30.0), Answered(metrics))
    method = "/tensorflow.serving.PredictionService/Predict"
    predict = (
        PredictionService(Models([predictor]), max_batch=64)
        .handlers(methods)
        .service(SimpleNamespace(method=method))
        .stream_unary
    )
    # The caller is asked for once before all images and once before each; the third cannot be decoded.
    request = encode_request({"images": [png(pixels()[0])] * 2 + [b"damaged"]})
    for _ in range(2):  # the place is free again afterwards
        with pytest.raises(Aborted) as caught:
            predict(iter((request,)), Leaving(questions))
        assert caught.value.args == (code,)
    assert device.runs == 0
