"""Damaged requests by the thousand: no crash, no text that was not foreseen, a good client is served beside."""

from __future__ import annotations

import gc
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError

from fieldwave.wire.contents import parse_request
from fieldwave.wire.inference import parse_infer_request
from fieldwave.wire.messages import ModelInferRequest, ModelInferResponse, PredictRequest, PredictResponse
from tests.answering import INFER, PREDICT, REFUSALS, Answer, answering, flood
from tests.mutated import INFER_SEEDS, MADE, PREDICT_SEEDS, impossible_infer, impossible_predict, made
from tests.served import affine, channel, serving, tensor

GOOD = affine(tensor()).ravel().tolist()


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, Answer]]:
    with answering() as answers:
        yield answers


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
    shared, contents = parse_infer_request(data)
    request = ModelInferRequest()
    request.CopyFrom(shared)
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
