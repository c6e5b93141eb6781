"""A service without a network: bytes in, status and answer out; and what may not come out, whatever goes in."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc

from fieldwave.serving.answered import Answered
from fieldwave.serving.execution import Executor
from fieldwave.serving.grpc_methods import GrpcMethods
from fieldwave.serving.http.app import App
from fieldwave.serving.http.exchange import Head, HttpCall
from fieldwave.serving.inference_service import InferenceService
from fieldwave.serving.metrics import Metrics
from fieldwave.serving.models import Models
from fieldwave.serving.places import Places
from fieldwave.serving.predictor import Model, Predictor
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.service import PredictionService
from fieldwave.serving.signature import Signature
from tests.mutated import Make
from tests.served import Affine, package

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
"""What a service may say to a request that it does not answer."""

Answer: TypeAlias = Callable[[bytes], tuple[str, Any]]


class Aborted(Exception):
    pass


class Context:
    """A call's context without a call."""

    def is_active(self) -> bool:
        return True

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "unix:"

    def invocation_metadata(self) -> tuple[Any, ...]:
        return ()

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Aborted(code.name, text)


@contextmanager
def answering() -> Iterator[dict[str, Answer]]:
    """What answers a request of each protocol, without a network: status, and answer or text."""
    loaded, device, metrics = package(), Affine(), Metrics()
    device.load(loaded)
    predictor = Predictor(Model(Signature.of(loaded)), places=Places(8), metrics=metrics)
    predictor.executor = executor = Executor(device)
    answered = Answered(metrics)
    methods = GrpcMethods(Receiving(8, 30.0), answered)
    app = App(Models([predictor]), answered, None, max_batch=64, max_bytes=1 << 20)

    def grpc_answer(service: Any, method: str) -> Answer:
        call = service.handlers(methods).service(SimpleNamespace(method=method)).stream_unary

        def answer(data: bytes) -> tuple[str, Any]:
            try:
                return "OK", call(iter((data,)), Context())
            except Aborted as aborted:
                return aborted.args

        return answer

    def rest_answer(data: bytes) -> tuple[str, Any]:
        path = "/v1/models/affine:predict" if b'"data"' not in data else "/v2/models/affine/infer"
        head = Head("POST", path, {})
        response = app.respond(app.route(head), data, HttpCall(head, ""))
        body = b"".join(response.body)
        return response.code, body if response.code == "OK" else json.loads(body)["error"]

    yield {
        "predict": grpc_answer(PredictionService(Models([predictor]), max_batch=64), PREDICT),
        "infer": grpc_answer(InferenceService(Models([predictor]), max_batch=64), INFER),
        "rest": rest_answer,
    }
    executor.close(1)


def flood(answer: Answer, make: Make, count: int, seed: int) -> Counter[str]:
    rng, statuses = random.Random(seed), Counter[str]()
    for _ in range(count):
        data = make(rng)
        status, text = answer(data)
        assert status in REFUSALS | {"OK"}, (data, text)
        if status != "OK":
            # One printable line that a trailer of gRPC can hold.
            assert text.isprintable(), data
            assert len(text.encode()) <= 2048, data
            assert "Traceback" not in text and "fieldwave/" not in text, data
        statuses[status] += 1
    return statuses
