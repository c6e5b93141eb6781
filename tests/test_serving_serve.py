from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.requests import encode_request
from tests.served import affine, tensor

# The device says "running" at each run after the warm-up, and then waits for a line on its standard input.
PROGRAM = """
import logging, sys
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

def before(run):
    if run > 1:
        print("running", flush=True)
        sys.stdin.readline()

logging.basicConfig(level=logging.INFO, format="%(message)s")
serve(ServeOptions(package=package(), grpc_port=0, grace_seconds=30),
      device=Affine(before), ready=lambda server: print(server.port, flush=True))
print("returned", flush=True)
"""


@contextmanager
def process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    ) as started:
        assert started.stdout is not None
        try:
            yield started, int(started.stdout.readline())
        finally:
            started.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_after_the_request_in_hand(number: signal.Signals) -> None:
    with process() as (service, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert service.stdin is not None
        assert service.stdout is not None
        assert service.stderr is not None
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        in_hand = predict.future(encode_request({"images": tensor()}), timeout=60)
        assert service.stdout.readline() == "running\n"
        service.send_signal(number)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        service.stdin.write("go on\n")
        service.stdin.flush()
        answer = PredictResponse.FromString(in_hand.result())
        assert list(answer.outputs["output_alias"].float_val) == affine(tensor())[0].tolist()
        assert service.stdout.readline() == "returned\n"
        assert service.wait(30) == 0
        assert service.stderr.read().splitlines() == [
            f"serving affine on 127.0.0.1:{port}, device affine",
            "stopping; requests in hand get 30 s",
            "stopped",
        ]


def test_a_second_signal_ends_the_service_at_once() -> None:
    with process() as (service, port), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert service.stdout is not None
        predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        in_hand = predict.future(encode_request({"images": tensor()}), timeout=60)
        assert service.stdout.readline() == "running\n"
        service.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == -signal.SIGTERM
        assert in_hand.code() is grpc.StatusCode.UNAVAILABLE
