"""One request after the other, to whichever server, by gRPC or by HTTP; and rounds of them, by turns."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np

from environments import Peer
from fieldwave.wire.inference import strings_to_raw
from fieldwave.wire.messages import ModelInferRequest, ModelInferResponse
from sleeper import MODEL, photo

__all__ = ["OPTIONS", "REQUESTS", "Call", "content", "grpc_call", "ours_http", "peer_http", "rounds", "warm"]

METHOD = "/inference.GRPCInferenceService/ModelInfer"
REQUESTS = ("pixels", "tensor", "image")
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
)

Call = Callable[[], Any]


def content(name: str) -> tuple[str, list[int], bytes]:
    """Datatype, shape and raw bytes of a request."""
    rng = np.random.default_rng(0)
    shape = [1, 224, 224, 3]
    if name == "pixels":
        return "UINT8", shape, rng.integers(0, 256, shape, dtype=np.uint8).tobytes()
    if name == "tensor":
        return "FP32", shape, rng.random(shape, np.float32).tobytes()
    return "BYTES", [1], photo()


def grpc_call(channel: grpc.Channel, model: str, name: str) -> Call:
    """One ModelInfer after the other, whose bytes are written once and for all."""
    datatype, shape, data = content(name)
    request = ModelInferRequest(model_name=model)
    request.inputs.add(name="images", datatype=datatype, shape=shape)
    request.raw_input_contents.append(strings_to_raw([data]) if datatype == "BYTES" else data)
    message, call = request.SerializeToString(), channel.unary_unary(METHOD)
    return lambda: call(message, timeout=30)


def http_call(port: int, path: str, body: bytes, headers: dict[str, str]) -> Call:
    """One POST after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask() -> http.client.HTTPResponse:
        connection.request("POST", path, body, headers)
        return connection.getresponse()

    def call() -> bytes:
        try:
            response = ask()
        except ConnectionError:  # it was closed while the others were asked
            connection.close()
            response = ask()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {answer[:500]!r}")
        return answer

    return call


def ours_http(port: int, name: str) -> Call:
    datatype, shape, data = content(name)
    raw = strings_to_raw([data]) if datatype == "BYTES" else data
    about = {"name": "images", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [about], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return http_call(port, f"/v2/models/{MODEL}/infer", head + raw, headers)


def peer_http(peer: Peer, port: int, name: str) -> Call:
    data = content(name)[2]
    if peer.name == "BentoML":
        return http_call(port, f"/{name}", data, {"Content-Type": "application/octet-stream"})
    boundary = "fieldwave-boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'.encode()
    body = head + data + f"\r\n--{boundary}--\r\n".encode()
    return http_call(port, f"/{name}", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def check(answer: Any) -> None:
    """It is 1,000 numbers, however they travel."""
    if b"scores" in answer[:200]:
        try:
            response = ModelInferResponse.FromString(answer)
            raw = b"".join(response.raw_output_contents)
            size = len(raw) or 4 * len(response.outputs[0].contents.fp32_contents)
        except Exception:
            size = len(answer) - answer.index(b"}]}") - 4  # JSON before the binary data, in a line
    else:
        size = len(answer)
    if size != 4000:
        raise RuntimeError(f"an answer of {size} bytes: {answer[:200]!r}")


def warm(call: Call, seconds: float = 60.0) -> None:
    """Ask until it answers, and some times more."""
    end = time.monotonic() + seconds
    while True:
        try:
            check(call())
            break
        except (grpc.RpcError, OSError, http.client.HTTPException, RuntimeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
    for _ in range(20):
        call()


def rounds(calls: dict[tuple[str, str], Call], count: int, seconds: float) -> dict[tuple[str, str], Any]:
    """Milliseconds of each call, and the medians of the rounds, for each server and request."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    medians: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(count):
        for key, call in calls.items():
            took = []
            call()
            end = time.perf_counter() + seconds
            while len(took) < 3 or time.perf_counter() < end:
                begin = time.perf_counter()
                call()
                took.append(1e3 * (time.perf_counter() - begin))
            times[key] += took
            medians[key].append(float(np.median(took)))
        print(f"round {number + 1} of {count}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return {key: (times[key], medians[key]) for key in calls}
