"""The Open Inference Protocol and the model's status over gRPC."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from fieldwave.errors import DeviceError
from fieldwave.serving import ServeOptions, Server
from fieldwave.version import __version__
from fieldwave.wire import messages
from fieldwave.wire.inference import strings_to_raw
from fieldwave.wire.requests import encode_request
from tests.served import FEATURES, SCORES, Affine, affine, channel, package, pixels, png, serving, tensor

SERVICE = "/inference.GRPCInferenceService/"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Affine(), SCORES, FEATURES) as running:
        yield running


def ask(server: Server, method: str, request: Any, **options: Any) -> bytes:
    with channel(server) as opened:
        path = method if method.startswith("/") else SERVICE + method
        return opened.unary_unary(path)(request.SerializeToString(), **{"timeout": 10, **options})


def infer(server: Server, request: Any) -> Any:
    return messages.ModelInferResponse.FromString(ask(server, "ModelInfer", request))


def refusal(server: Server, request: Any, method: str = "ModelInfer") -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        ask(server, method, request)
    return caught.value.code(), caught.value.details()


def request(array: Any, datatype: str, *, raw: bool = True, name: str = "images", **changes: Any) -> Any:
    message = messages.ModelInferRequest(model_name="affine", id="42", **changes)
    strings = datatype == "BYTES"
    given = message.inputs.add(name=name, datatype=datatype, shape=[len(array)] if strings else array.shape)
    if raw:
        message.raw_input_contents.append(strings_to_raw(array) if strings else array.tobytes())
    elif strings:
        given.contents.bytes_contents.extend(array)
    else:
        field = {"FP32": "fp32_contents", "UINT8": "uint_contents"}[datatype]
        getattr(given.contents, field).extend(array.ravel().tolist())
    return message


@pytest.mark.parametrize("raw", [True, False])
def test_files_pixels_and_tensors_give_the_same_scores_raw_and_typed(server: Server, raw: bool) -> None:
    images = pixels(2)
    network_input = (images.astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    for datatype, value in (
        ("FP32", network_input),
        ("UINT8", images),
        ("BYTES", [png(image) for image in images]),
    ):
        message = request(value, datatype, raw=raw)
        message.outputs.add(name="output_alias")
        response = infer(server, message)
        assert (response.model_name, response.model_version, response.id) == ("affine", "1", "42")
        (output,) = response.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("output_alias", "FP32", [2, 10])
        expected = affine(network_input)
        if raw:
            assert list(response.raw_output_contents) == [expected.tobytes()]
            assert not output.HasField("contents")
        else:
            assert list(output.contents.fp32_contents) == expected.ravel().tolist()
            assert not response.raw_output_contents


def test_without_a_wish_each_output_comes_once_under_the_name_in_the_metadata(server: Server) -> None:
    response = infer(server, request(tensor(), "FP32"))
    assert [output.name for output in response.outputs] == ["output_alias", "features_alias"]
    assert [len(raw) for raw in response.raw_output_contents] == [40, 4 * 200 * 100]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (
            request(tensor(), "FP32", name="imges"),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')",
            ),
        ),
        (
            request(tensor().astype(np.float64), "FP64"),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "input 'images': dtype float64; "
                "send float32 [N, 4, 5, 3] or uint8 [N, 4, 5, 3] or string [N] (image files)",
            ),
        ),
        (
            messages.ModelInferRequest(model_name="other"),
            (grpc.StatusCode.NOT_FOUND, "no model 'other' here; this service has 'affine'"),
        ),
        (
            messages.ModelInferRequest(model_version="2"),
            (grpc.StatusCode.NOT_FOUND, "model 'affine' has no version '2' here; this service has version 1"),
        ),
        (
            messages.ModelInferRequest(raw_input_contents=[b"", b""]),
            (grpc.StatusCode.INVALID_ARGUMENT, "0 inputs, but 2 raw_input_contents; send one for each"),
        ),
        (
            messages.ModelInferRequest(
                inputs=[{"name": "images", "contents": {"fp32_contents": [1.0]}}], raw_input_contents=[b""]
            ),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "input 'images': both contents and raw_input_contents are filled; send one of them",
            ),
        ),
        (
            messages.ModelInferRequest(
                inputs=[{"name": "images", "parameters": {"shared_memory_region": {"string_param": "a"}}}]
            ),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "'images' has the parameter 'shared_memory_region': "
                "tensors in shared memory are not read; send them in the request",
            ),
        ),
        (
            messages.ModelInferRequest(
                outputs=[{"name": "output_alias", "parameters": {"classification": {"int64_param": 3}}}]
            ),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "'output_alias' has the parameter 'classification': "
                "outputs are not classified; ask for the output itself",
            ),
        ),
        (
            messages.ModelInferRequest(inputs=[{"name": "images"}, {"name": "images"}]),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "'images' and 'images' are names of one input; send one of them",
            ),
        ),
    ],
)
def test_requests_that_cannot_be_answered_are_refused(
    server: Server, message: Any, status: tuple[grpc.StatusCode, str]
) -> None:
    assert refusal(server, message) == status


def test_bytes_that_are_no_request_are_refused(server: Server) -> None:
    with channel(server) as opened, pytest.raises(grpc.RpcError) as caught:
        opened.unary_unary(SERVICE + "ModelInfer")(b"\xff", timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "the bytes received are no inference.ModelInferRequest"


def test_the_server_and_the_model_describe_themselves(server: Server) -> None:
    live = ask(server, "ServerLive", messages.ServerLiveRequest())
    assert messages.ServerLiveResponse.FromString(live).live
    ready = ask(server, "ServerReady", messages.ServerReadyRequest())
    assert messages.ServerReadyResponse.FromString(ready).ready
    ready = ask(server, "ModelReady", messages.ModelReadyRequest(name="affine", version="1"))
    assert messages.ModelReadyResponse.FromString(ready).ready
    text = "no model 'other' here; this service has 'affine'"
    for method, asked in (
        ("ModelReady", messages.ModelReadyRequest(name="other")),
        ("ModelMetadata", messages.ModelMetadataRequest(name="other")),
    ):
        assert refusal(server, asked, method) == (grpc.StatusCode.NOT_FOUND, text)
    about = messages.ServerMetadataResponse.FromString(
        ask(server, "ServerMetadata", messages.ServerMetadataRequest())
    )
    assert (about.name, about.version) == ("fieldwave", __version__)
    model = messages.ModelMetadataResponse.FromString(
        ask(server, "ModelMetadata", messages.ModelMetadataRequest(name="affine"))
    )
    assert (model.name, list(model.versions), model.platform) == ("affine", ["1"], "fieldwave_int8")
    assert [(each.name, each.datatype, list(each.shape)) for each in (*model.inputs, *model.outputs)] == [
        ("images", "FP32", [-1, 4, 5, 3]),
        ("output_alias", "FP32", [-1, 10]),
        ("features_alias", "FP32", [-1, 200, 100]),
    ]
    assert dict(model.properties) == {
        "accepts:images": "float32 [N, 4, 5, 3] or uint8 [N, 4, 5, 3] or string [N] (image files)",
        "device": "affine",
    }


def model_status(server: Server) -> tuple[int, int, str]:
    answer = ask(server, STATUS, messages.GetModelStatusRequest(model_spec={"name": "affine"}))
    (status,) = messages.GetModelStatusResponse.FromString(answer).model_version_status
    assert status.version == 1
    return status.state, status.status.error_code, status.status.error_message


def test_the_model_s_status_follows_its_life() -> None:
    loading, load = threading.Event(), threading.Event()

    class Slow(Affine):
        def load(self, loaded: Any) -> None:
            loading.set()
            assert load.wait(30)
            super().load(loaded)

    def fail(run: int) -> None:
        if run == 2:
            raise DeviceError("the device is on fire")

    server = Server(ServeOptions(package=package(), grpc_port=0, recovery_seconds=3600), Slow(fail))
    starting = threading.Thread(target=server.start)
    starting.start()
    assert loading.wait(10)
    assert model_status(server) == (20, 0, "PROGRAMMING: the device is loading the network")
    code, text = refusal(server, messages.ModelInferRequest())
    assert (code, text) == (grpc.StatusCode.UNAVAILABLE, "model 'affine' is not ready; try again")
    ready = ask(server, "ServerReady", messages.ServerReadyRequest())
    assert not messages.ServerReadyResponse.FromString(ready).ready
    load.set()
    starting.join(10)
    assert model_status(server) == (30, 0, "")
    assert refusal(server, request(tensor(), "FP32"))[0] is grpc.StatusCode.UNAVAILABLE
    assert model_status(server) == (30, 14, "the device does not answer")
    assert infer(server, request(tensor(), "FP32")).id == "42"
    assert model_status(server) == (30, 0, "")
    server.stop()


def test_who_asks_gets_its_request_s_id_and_where_the_time_went(server: Server) -> None:
    with channel(server) as opened:
        data = encode_request({"images": tensor()})
        metadata = (("x-request-id", "abc-1"), ("server-timing", "1"))
        _, call = opened.unary_unary(PREDICT).with_call(data, timeout=10, metadata=metadata)
        trailing = dict(call.trailing_metadata())
        assert trailing["x-request-id"] == "abc-1"
        stages = [part.partition(";dur=") for part in trailing["server-timing"].split(", ")]
        assert [name for name, _, _ in stages] == ["decode", "queue", "device", "encode"]
        assert all(float(milliseconds) > 0 for _, _, milliseconds in stages)
        _, call = opened.unary_unary(PREDICT).with_call(data, timeout=10)
        assert not call.trailing_metadata()
        # What a log could not hold is replaced.
        _, call = opened.unary_unary(PREDICT).with_call(data, timeout=10, metadata=(("x-request-id", "a b"),))
        assert dict(call.trailing_metadata())["x-request-id"] != "a b"


def test_a_request_s_line_in_the_log_has_its_id_and_nothing_of_what_was_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "fieldwave.requests")
    with serving(log_requests=True) as server, channel(server) as opened:
        metadata = (("x-request-id", "abc-1"), ("authorization", "Bearer secret"))
        opened.unary_unary(PREDICT)(encode_request({"images": tensor()}), timeout=10, metadata=metadata)
        with pytest.raises(grpc.RpcError):
            opened.unary_unary(PREDICT)(encode_request({"x": tensor()}), timeout=10, metadata=metadata)
    good, bad = (record for record in caplog.records if record.name == "fieldwave.requests")
    assert good.fields["request"] == bad.fields["request"] == "abc-1"
    assert (good.fields["protocol"], good.fields["code"]) == ("predict", "OK")
    assert good.fields["device_milliseconds"] > 0
    assert bad.fields["code"] == "INVALID_ARGUMENT"
    assert bad.fields["text"].startswith("unknown input 'x'; this model takes ")
    assert "secret" not in caplog.text
