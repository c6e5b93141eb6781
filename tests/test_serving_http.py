"""What is at which address of the HTTP port."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import numpy as np
import pytest

from fieldwave.errors import DeviceError
from fieldwave.serving import Server
from fieldwave.version import __version__
from tests.served import FEATURES, SCORES, Affine, affine, pixels, png, serving, tensor

PREDICT = "/v1/models/affine:predict"
INFER = "/v2/models/affine/infer"
TAKES = "this model takes 'Placeholder:0' (also 'images', 'Placeholder')"
ACCEPTS = "float32 [N, 4, 5, 3] or uint8 [N, 4, 5, 3] or string [N] (image files)"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(http_port=0) as running:
        yield running


def ask(
    server: Server, path: str, body: Any = None, method: str = "", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    connection = HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    try:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method or ("GET" if body is None else "POST"), path, data, given)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        content = response.read()
        is_json = found["content-type"] == "application/json" and content
        return response.status, json.loads(content) if is_json else content, found
    finally:
        connection.close()


def scores(rows: int = 2) -> list[list[float]]:
    return affine(tensor(rows)).tolist()


def infer_request(**changes: Any) -> dict[str, Any]:
    data = tensor(2).ravel().tolist()
    return {"inputs": [{"name": "images", "datatype": "FP32", "shape": [2, 4, 5, 3], "data": data, **changes}]}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v2", {"name": "fieldwave", "version": __version__, "extensions": ["binary_tensor_data"]}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/health/ready/", {"ready": True}),
        ("/v2/models/affine/ready", {"name": "affine", "ready": True}),
        ("/v2/models/affine/versions/1/ready", {"name": "affine", "ready": True}),
        (
            "/v2/models/affine",
            {
                "name": "affine",
                "versions": ["1"],
                "platform": "fieldwave_int8",
                "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, 4, 5, 3]}],
                "outputs": [{"name": "output_alias", "datatype": "FP32", "shape": [-1, 10]}],
                "properties": {"accepts:images": ACCEPTS, "device": "affine"},
            },
        ),
        (
            "/v1/models/affine",
            {
                "model_version_status": [
                    {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
                ]
            },
        ),
    ],
)
def test_what_the_service_says_about_itself(server: Server, path: str, answer: Any) -> None:
    status, found, headers = ask(server, path)
    assert (status, found) == (200, answer)
    assert len(headers["x-request-id"]) == 16
    status, nothing, headers = ask(server, path, method="HEAD")
    assert (status, nothing) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_the_signature_is_what_clients_of_tensorflow_serving_read(server: Server) -> None:
    _, found, _ = ask(server, "/v1/models/affine/metadata")
    assert found["model_spec"] == {"name": "affine", "signature_name": "", "version": "1"}
    signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["outputs"] == {
        "output_alias": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {
                "dim": [{"size": "-1", "name": ""}, {"size": "10", "name": ""}],
                "unknown_rank": False,
            },
            "name": "classifier/Softmax:0",
        }
    }


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/affine/versions/1:predict", "/v1/models/affine%3Apredict"])
def test_rows_in_rows_out_and_columns_in_columns_out(server: Server, path: str) -> None:
    rows = tensor(2).tolist()
    named = [{"images": row} for row in rows]
    assert ask(server, path, {"instances": rows})[:2] == (200, {"predictions": scores()})
    assert ask(server, path, {"instances": named})[:2] == (200, {"predictions": scores()})
    assert ask(server, path, {"inputs": rows})[:2] == (200, {"outputs": scores()})
    columns = {"inputs": {"Placeholder:0": rows}, "signature_name": "serving_default"}
    assert ask(server, path, columns)[:2] == (200, {"outputs": scores()})


def test_image_files_come_as_base64(server: Server) -> None:
    images = pixels(2)
    network_input = (images.astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    files = [{"b64": base64.b64encode(png(image)).decode()} for image in images]
    expected = affine(network_input).tolist()
    assert ask(server, PREDICT, {"instances": files})[1] == {"predictions": expected}
    assert ask(server, PREDICT, {"instances": [{"images": file} for file in files]})[1] == {
        "predictions": expected
    }
    assert ask(server, PREDICT, {"inputs": {"images": files}})[1] == {"outputs": expected}
    request = infer_request(
        datatype="BYTES", shape=[2], data=[file["b64"] for file in files], parameters={"content_type": "base64"}
    )
    assert ask(server, INFER, request)[1]["outputs"][0]["data"] == [value for row in expected for value in row]
    request = infer_request(datatype="UINT8", data=images.tolist())
    assert ask(server, INFER, request)[1]["outputs"][0]["data"] == [value for row in expected for value in row]


def test_several_outputs_have_names() -> None:
    with serving(Affine(), SCORES, FEATURES, http_port=0) as server:
        (row, _) = ask(server, PREDICT, {"instances": tensor(2).tolist()})[1]["predictions"]
        assert set(row) == {"output_alias", "features_alias"}
        assert row["output_alias"] == scores()[0]
        columns = ask(server, PREDICT, {"inputs": tensor(2).tolist()})[1]["outputs"]
        assert columns["output_alias"] == scores()
        request = {**infer_request(), "outputs": [{"name": "classifier/Softmax:0"}]}
        (output,) = ask(server, INFER, request)[1]["outputs"]
        assert (output["name"], output["shape"]) == ("classifier/Softmax:0", [2, 10])


def test_tensors_come_and_go_as_binary_data(server: Server) -> None:
    binary = tensor(2).tobytes()
    head: Any = infer_request(parameters={"binary_data_size": len(binary)})
    del head["inputs"][0]["data"]
    head |= {"id": "seven", "outputs": [{"name": "output_alias", "parameters": {"binary_data": True}}]}
    text = json.dumps(head).encode()
    status, body, headers = ask(server, INFER, text + binary, Inference_Header_Content_Length=str(len(text)))
    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    size = int(headers["inference-header-content-length"])
    answer = json.loads(body[:size])
    assert answer == {
        "model_name": "affine",
        "model_version": "1",
        "id": "seven",
        "outputs": [
            {
                "name": "output_alias",
                "datatype": "FP32",
                "shape": [2, 10],
                "parameters": {"binary_data_size": 80},
            }
        ],
    }
    assert body[size:] == affine(tensor(2)).tobytes()
    head["outputs"] = []
    head["parameters"] = {"binary_data_output": True}
    text = json.dumps(head).encode()
    assert ask(server, INFER, text + binary, Inference_Header_Content_Length=str(len(text)))[1][-80:] == body[-80:]


def test_numbers_that_json_has_not_come_and_go(server: Server) -> None:
    array = tensor()
    array[0, 0, 0, 0], array[0, 0, 0, 1] = math.inf, math.nan
    _, found, _ = ask(server, PREDICT, {"instances": array.tolist()})
    assert found["predictions"][0][0] == math.inf
    assert math.isnan(found["predictions"][0][1])


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (PREDICT, b"{", 400, "the body is not JSON"),
        (PREDICT, b"", 400, "the body is not JSON"),
        (PREDICT, b"[" * 100_000, 400, "the body is not JSON"),
        (PREDICT, b"9" * 100_000, 400, "the body is not JSON"),
        (PREDICT, b"[]", 400, "the body is no JSON object"),
        (PREDICT, b"\xff\xfe", 400, "the body is not JSON"),
        (PREDICT, {}, 400, "send either instances (rows) or inputs (columns)"),
        (PREDICT, {"instances": [], "inputs": []}, 400, "send either instances (rows) or inputs (columns)"),
        (PREDICT, {"instances": []}, 400, "instances is no list of rows, or an empty one"),
        (
            PREDICT,
            {"instance": []},
            400,
            "unknown field 'instance'; send signature_name, and instances or inputs",
        ),
        (
            PREDICT,
            {"instances": [1], "signature_name": "other"},
            412,
            "unknown signature 'other'; this model has 'serving_default'",
        ),
        (PREDICT, {"instances": [{"imges": 1}]}, 400, f"unknown input 'imges'; {TAKES}"),
        (
            PREDICT,
            {"instances": [{"images": 1}, 2]},
            400,
            "each row of instances names its inputs, or none does; these differ",
        ),
        (
            PREDICT,
            {"instances": [[1], [2, 3]]},
            400,
            "input 'Placeholder:0': the numbers are no array: its rows have different lengths",
        ),
        (
            PREDICT,
            {"instances": [1, 2]},
            400,
            "input 'Placeholder:0': shape [2]; send float32 [N, 4, 5, 3]",
        ),
        (PREDICT, {"instances": [None]}, 400, "input 'Placeholder:0': the values are no float32 numbers"),
        (
            PREDICT,
            {"instances": [{"b64": "?"}]},
            400,
            "input 'Placeholder:0': a text is no base64 (RFC 4648, section 4)",
        ),
        (
            PREDICT,
            {"instances": ["no picture"]},
            400,
            "input 'Placeholder:0': not an image: the first bytes are 6e6f207069637475, "
            "expected a JPEG or PNG file",
        ),
        (
            PREDICT,
            {"inputs": "text"},
            400,
            "input 'Placeholder:0': one byte string without a list around it; send a list of them",
        ),
        (INFER, {}, 400, f"input 'Placeholder:0' is missing; {TAKES}"),
        (INFER, {"inputs": 7}, 400, "inputs is no list of objects"),
        (INFER, {"inputs": [{}]}, 400, "a tensor has no name"),
        (INFER, {"inputs": [{"name": "a"}] * 65}, 400, "65 inputs; at most 64 are supported"),
        (
            INFER,
            infer_request(datatype="FP8"),
            400,
            "input 'images': datatype 'FP8' is not supported; use one of BOOL, UINT8, UINT16, UINT32, UINT64, "
            "INT8, INT16, INT32, INT64, FP16, FP32, FP64, BYTES",
        ),
        (INFER, infer_request(shape=[True]), 400, "input 'images': shape is no list of sizes"),
        (INFER, infer_request(shape=[2]), 400, "input 'images': shape [2] takes 2 values, but data has 120"),
        (
            INFER,
            infer_request(shape=[-1]),
            400,
            "input 'images': shape [-1] has a negative dimension; send the sizes of all dimensions",
        ),
        (
            INFER,
            infer_request(datatype="UINT8", shape=[1], data=[256]),
            400,
            "input 'images': a value is outside 0 to 255, the range of uint8",
        ),
        (
            INFER,
            infer_request(parameters={"binary_data_size": 4}),
            400,
            "binary_data_size of 'images' is no size that the body has; 0 bytes are left",
        ),
        (
            INFER,
            infer_request(parameters={"shared_memory_region": "a"}),
            400,
            "'images' has the parameter 'shared_memory_region': "
            "tensors in shared memory are not read; send them in the request",
        ),
        (
            "/v1/models/other:predict",
            {},
            404,
            "no model 'other' here; this service has 'affine'",
        ),
        (
            "/v2/models/affine/versions/2/infer",
            {},
            404,
            "model 'affine' has no version '2' here; this service has version 1",
        ),
        (
            "/v1/models/affine/labels/stable:predict",
            {},
            404,
            "model 'affine' has no version labels; it has version 1",
        ),
        (
            "/v1/models/affine:classify",
            {},
            404,
            "nothing is at this address; GET /openapi.json says what is where",
        ),
        ("/v2/repository/index", {}, 404, "nothing is at this address; GET /openapi.json says what is where"),
        ("/v2", {}, 405, "this address takes GET and HEAD"),
    ],
)
def test_what_cannot_be_answered_is_refused(server: Server, path: str, body: Any, status: int, text: str) -> None:
    found, answer, headers = ask(server, path, body)
    assert (found, answer) == (status, {"error": text})
    assert headers["content-type"] == "application/json"
    assert ask(server, PREDICT, {"instances": tensor(2).tolist()})[1] == {"predictions": scores()}


def test_headers_that_make_no_sense_are_refused(server: Server) -> None:
    for path, headers, status, text in (
        (PREDICT, {"Content_Encoding": "gzip"}, 415, "compressed bodies are not read; send it as it is"),
        (
            PREDICT,
            {"X_Request_Timeout_Ms": "soon"},
            400,
            "x-request-timeout-ms is not a number of milliseconds",
        ),
        (
            INFER,
            {"Inference_Header_Content_Length": "-1"},
            400,
            "inference-header-content-length is no number of bytes",
        ),
        (
            INFER,
            {"Inference_Header_Content_Length": "9"},
            400,
            "inference-header-content-length is 9, but the body has 2 bytes",
        ),
    ):
        assert ask(server, path, {}, **headers)[:2] == (status, {"error": text})


def test_more_json_than_python_should_hold_is_refused(server: Server) -> None:
    status, answer, _ = ask(server, PREDICT, b" " * (8 << 20) + b"{}")
    assert (status, answer) == (
        400,
        {"error": "8388610 bytes of JSON; the limit is 8388608: send image files, or tensors in binary"},
    )


def test_a_deadline_that_has_passed_keeps_the_device_free(server: Server) -> None:
    status, _, _ = ask(server, PREDICT, {"instances": tensor().tolist()}, X_Request_Timeout_Ms="0")
    assert status == 504


def test_a_failing_device_is_unavailable_and_not_ready_until_it_answers_again() -> None:
    def fail(run: int) -> None:
        if run == 2:
            raise DeviceError("the device is on fire")
        if run == 3:
            raise RuntimeError("secret path /etc/keys")

    with serving(Affine(fail), http_port=0, recovery_seconds=3600) as server:
        status, answer, headers = ask(server, PREDICT, {"instances": tensor(2).tolist()})
        assert (status, answer) == (503, {"error": "the device is on fire"})
        assert headers["retry-after"] == "1"
        assert ask(server, "/v2/health/ready")[:2] == (503, {"ready": False})
        status, answer, headers = ask(server, PREDICT, {"instances": tensor(2).tolist()}, X_Request_Id="abc")
        text = "internal error; the service's log has the details (request abc)"
        assert (status, answer) == (500, {"error": text})
        assert headers["x-request-id"] == "abc"
        assert ask(server, PREDICT, {"instances": tensor(2).tolist()})[1] == {"predictions": scores()}
        assert ask(server, "/v2/health/ready")[:2] == (200, {"ready": True})


def metrics(server: Server) -> dict[str, float]:
    _, text, headers = ask(server, "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_metrics_count_calls_images_and_the_device_s_work() -> None:
    with serving(http_port=0) as server:
        ask(server, PREDICT, {"instances": tensor(2).tolist()})
        ask(server, PREDICT, {"instances": []})
        found = metrics(server)
        assert found['fieldwave_requests_total{code="OK",protocol="rest_predict"}'] == 1
        assert found['fieldwave_requests_total{code="INVALID_ARGUMENT",protocol="rest_predict"}'] == 1
        assert found['fieldwave_images_total{model="affine"}'] == 2
        assert found["fieldwave_device_images_total"] == 2  # runs of this device, the warm-up among them
        assert found["fieldwave_device_healthy"] == 1
        assert found["fieldwave_in_hand"] == found["fieldwave_waiting"] == 0
        for stage in ("decode", "queue", "device", "encode"):
            assert found[f'fieldwave_stage_seconds_count{{model="affine",stage="{stage}"}}'] == 1
            assert found[f'fieldwave_stage_seconds_sum{{model="affine",stage="{stage}"}}'] > 0
        assert found['fieldwave_request_seconds_count{protocol="rest_predict"}'] == 1
        assert found["process_resident_memory_bytes"] > 1e6
        (built,) = (name for name in found if name.startswith("fieldwave_build_info"))
        assert 'device="affine",model="affine",package="sha256:' in built
        assert not any("_created" in name for name in found)


def test_the_description_names_every_address(server: Server) -> None:
    _, found, _ = ask(server, "/openapi.json")
    assert found["openapi"] == "3.1.0"
    for path, operations in found["paths"].items():
        for method in operations:
            status, _, _ = ask(server, path, None if method == "get" else {}, method.upper())
            assert status == (200 if method == "get" else 400), path
            assert str(status) in operations[method]["responses"]
