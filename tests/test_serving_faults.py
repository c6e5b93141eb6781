"""A device that hangs, clients that want too much: what others see of it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fieldwave.serving import Server
from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.requests import encode_request
from tests.served import Affine, affine, channel, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUEST = encode_request({"images": tensor()}, ["output_alias"])
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def ready(server: Server) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        connection.request("GET", "/v2/health/ready")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_a_hung_device_is_unavailable_at_once_and_serves_again_when_it_wakes() -> None:
    hang = threading.Event()

    def block(run: int) -> None:
        if run == 3:
            assert hang.wait(60)

    device = Affine(block)
    with serving(device, device_seconds=0.2, http_port=0) as server, channel(server) as opened:
        health = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(health).status == SERVING
        predict = opened.unary_unary(PREDICT)
        predict(REQUEST, timeout=30)
        begin = time.monotonic()
        calls = [predict.future(REQUEST, timeout=30) for _ in range(3)]
        assert {call.code() for call in calls} == {grpc.StatusCode.UNAVAILABLE}
        assert all(call.details().startswith("device affine has not ended its run for 0.") for call in calls)
        assert next(health).status == NOT_SERVING
        assert time.monotonic() - begin < 5
        assert ready(server) == (503, {"ready": False})
        with pytest.raises(grpc.RpcError) as caught:
            predict(REQUEST, timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert device.runs == 3
        hang.set()
        assert next(health).status == SERVING
        assert ready(server) == (200, {"ready": True})
        other = encode_request({"images": tensor(seed=5)}, ["output_alias"])
        answer = PredictResponse.FromString(predict(other, timeout=30))
        assert list(answer.outputs["output_alias"].float_val) == affine(tensor(seed=5))[0].tolist()


HUNG = """
import sys, time
sys.path.insert(0, ".")
from fieldwave.errors import DeviceError
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

def before(run):
    if run > 2:
        time.sleep(600)

options = ServeOptions(package=package(), grpc_port=0, device_seconds=0.1, hung_seconds=0.1, grace_seconds=0.1)
try:
    serve(options, device=Affine(before), ready=lambda server: print(server.port, flush=True))
except DeviceError as error:
    sys.exit(f"error: {error}")
"""


def test_a_process_whose_device_stays_hung_ends() -> None:
    command = [sys.executable, "-c", HUNG]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            address = f"127.0.0.1:{int(process.stdout.readline())}"
            with grpc.insecure_channel(address) as opened:
                predict = opened.unary_unary(PREDICT)
                predict(REQUEST, timeout=30)
                with pytest.raises(grpc.RpcError):
                    predict(REQUEST, timeout=30)
            assert process.wait(30) == 1
            lines = process.stderr.read().splitlines()
            assert lines[-1] == "error: the device has hung for 0.1 s; the service ends"
        finally:
            process.kill()


def connection(server: Server) -> grpc.Channel:
    """A connection of its own; channels of one process would else share one."""
    return grpc.insecure_channel(f"127.0.0.1:{server.port}", (("grpc.use_local_subchannel_pool", 1),))


def test_a_client_with_one_request_at_a_time_is_served_beside_one_that_wants_all() -> None:
    device = Affine(lambda run: time.sleep(0.002))
    enough = threading.Event()
    with serving(device, workers=2) as server, connection(server) as greedy, connection(server) as modest:
        refused: list[bool] = []

        def want() -> None:
            predict = greedy.unary_unary(PREDICT)
            while not enough.is_set():
                try:
                    predict(REQUEST, timeout=30)
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    refused.append(True)

        threads = [threading.Thread(target=want) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            predict = modest.unary_unary(PREDICT)
            while not refused:
                time.sleep(0.001)
            for _ in range(50):
                answer = PredictResponse.FromString(predict(REQUEST, timeout=30))
                assert np.array_equal(answer.outputs["output_alias"].float_val, affine(tensor())[0])
        finally:
            enough.set()
            for thread in threads:
                thread.join()
        assert len(refused) > 50
