"""Damaged requests by the thousand: no crash, no text that was not foreseen, a good client is served beside."""

from __future__ import annotations

import gc
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

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
from fieldwave.wire.contents import parse_request
from fieldwave.wire.inference import parse_infer_request
from fieldwave.wire.messages import ModelInferRequest, ModelInferResponse, PredictRequest, PredictResponse
from tests.mutated import (
    INFER_SEEDS,
    JSON_SEEDS,
    PREDICT_SEEDS,
    damaged,
    impossible_infer,
    impossible_json,
    impossible_predict,
)
from tests.served import Affine, affine, channel, package, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}
GOOD = affine(tensor()).ravel().tolist()

Make = Callable[[random.Random], bytes]


def made(seeds: tuple[bytes, ...], impossible: Make) -> Make:
    return lambda rng: damaged(rng, seeds) if rng.random() < 0.6 else impossible(rng)


MADE = {
    "predict": made(PREDICT_SEEDS, impossible_predict),
    "infer": made(INFER_SEEDS, impossible_infer),
    "rest": made(JSON_SEEDS, impossible_json),
}


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


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, Callable[[bytes], tuple[str, Any]]]]:
    """What answers a request of each protocol, without a network: status, and answer or text."""
    loaded, device, metrics = package(), Affine(), Metrics()
    device.load(loaded)
    predictor = Predictor(Model(Signature.of(loaded)), places=Places(8), metrics=metrics)
    predictor.executor = executor = Executor(device)
    answered = Answered(metrics)
    methods = GrpcMethods(Receiving(8, 30.0), answered)
    app = App(Models([predictor]), answered, None, max_batch=64, max_bytes=1 << 20)

    def grpc_answer(service: Any, method: str) -> Callable[[bytes], tuple[str, Any]]:
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


def flood(answer: Callable[[bytes], tuple[str, Any]], make: Make, count: int, seed: int) -> Counter[str]:
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


@pytest.mark.parametrize("protocol", list(MADE))
def test_damaged_requests_are_the_client_s_mistake(answers: Any, protocol: str) -> None:
    statuses = flood(answers[protocol], MADE[protocol], 2000, seed=1)
    assert statuses["INVALID_ARGUMENT"] > 500
    assert statuses["OK"] > 20  # the damage is small enough to come to the device


@pytest.mark.slow
@pytest.mark.parametrize("protocol", list(MADE))
def test_many_damaged_requests_leave_no_trace(answers: Any, protocol: str) -> None:
    flood(answers[protocol], MADE[protocol], 2_000, seed=2)
    gc.collect()
    before = resident_bytes()
    statuses = flood(
        answers[protocol], MADE[protocol], {"predict": 40_000, "infer": 10_000, "rest": 4_000}[protocol], seed=3
    )
    print(protocol, dict(statuses))
    gc.collect()
    assert resident_bytes() - before < 5 << 20


@pytest.mark.slow
def test_ten_thousand_of_them_are_read_as_protobuf_reads_them() -> None:
    for seeds, impossible, message, read in (
        (PREDICT_SEEDS, impossible_predict, PredictRequest, read_predict),
        (INFER_SEEDS, impossible_infer, ModelInferRequest, read_infer),
    ):
        make, rng, readable = made(seeds, impossible), random.Random(5), 0
        for _ in range(5_000):
            data = make(rng)
            try:
                expected = message.FromString(data).SerializeToString(deterministic=True)
            except DecodeError:
                with pytest.raises(DecodeError):
                    read(data)
                continue
            assert read(data).SerializeToString(deterministic=True) == expected, data
            readable += 1
        assert readable > 1_000


def read_predict(data: bytes) -> Any:
    """The request as the hand reader takes it apart, put together again."""
    request, contents = parse_request(data, cut_bytes=1)
    for name, content in contents.items():
        request.inputs[name].tensor_content = bytes(content)
    return request


def read_infer(data: bytes) -> Any:
    request, contents = parse_infer_request(data)
    if not request.raw_input_contents:
        request.raw_input_contents.extend(map(bytes, contents))
    return request


@pytest.mark.slow
def test_many_of_them_over_sockets_harm_no_good_client() -> None:
    with serving(http_port=0) as server, channel(server) as opened:
        enough, failures, served = threading.Event(), [], Counter[str]()

        def good() -> None:
            with channel(server) as mine:
                while not enough.is_set():
                    try:
                        answer = PredictResponse.FromString(
                            mine.unary_unary(PREDICT)(PREDICT_SEEDS[0], timeout=30)
                        )
                        assert list(answer.outputs["output_alias"].float_val) == GOOD
                        reply = ModelInferResponse.FromString(mine.unary_unary(INFER)(INFER_SEEDS[0], timeout=30))
                        assert reply.raw_output_contents[0] == affine(tensor()).tobytes()
                        served["good"] += 2
                    except BaseException as error:
                        failures.append(error)
                        return

        thread = threading.Thread(target=good)
        thread.start()
        rng, statuses = random.Random(4), Counter[str]()
        for method, protocol in ((PREDICT, "predict"), (INFER, "infer")):
            call = opened.unary_unary(method)
            for _ in range(2_500):
                try:
                    call(MADE[protocol](rng), timeout=30)
                    statuses["OK"] += 1
                except grpc.RpcError as error:
                    statuses[error.code().name] += 1
        enough.set()
        thread.join(30)
        print(dict(statuses), dict(served))
        assert failures == []
        assert set(statuses) <= REFUSALS | {"OK"}
        assert served["good"] > 100


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
