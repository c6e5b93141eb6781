from __future__ import annotations

import queue
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from fieldwave.errors import ConflictError, DeviceError, InputError, NotFoundError, ServiceError
from fieldwave.preprocess import MAX_IMAGE_BYTES
from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.listen import is_loopback
from fieldwave.wire.messages import GetModelMetadataResponse, PredictResponse, SignatureDefMap
from fieldwave.wire.requests import encode_request
from tests.served import FEATURES, SCORES, Affine, affine, channel, package, pixels, png, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(Affine(), SCORES, FEATURES) as running:
        yield running


def call(server: Server, data: bytes, method: str = PREDICT, **options: Any) -> bytes:
    with channel(server) as opened:
        return opened.unary_unary(method)(data, **{"timeout": 10, **options})


def refusal(server: Server, data: bytes, method: str = PREDICT, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(server, data, method, **options)
    return caught.value.code(), caught.value.details()


def scores_of(answer: bytes, name: str = "output_alias") -> list[float]:
    return list(PredictResponse.FromString(answer).outputs[name].float_val)


def bare_request(data: bytes = encode_request({"images": tensor()})) -> bytes:
    return data


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field, for lengths that take two bytes at most."""
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def test_a_client_that_knows_only_field_numbers_is_served(server: Server) -> None:
    shape = b"".join(field(2, bytes([8, size])) for size in (1, 4, 5, 3))
    content = tensor().tobytes()
    tensor_proto = b"\x08\x01" + field(2, shape) + field(4, content)
    request = field(2, field(1, b"Placeholder:0") + field(2, tensor_proto)) + field(3, b"output_alias")
    answer = call(server, request)
    shape = field(2, b"\x08\x01") + field(2, b"\x08\x0a")
    values = struct.pack("<10f", *affine(tensor())[0])
    output = field(1, b"output_alias") + field(2, b"\x08\x01" + field(2, shape) + field(5, values))
    model_spec = field(1, b"affine") + field(2, b"\x08\x01") + field(3, b"serving_default")
    assert sorted((answer[: len(field(1, output))], answer[len(field(1, output)) :])) == sorted(
        (field(1, output), field(2, model_spec))
    )


def test_files_pixels_and_tensors_of_an_image_give_the_same_scores(server: Server) -> None:
    images = pixels(3)
    network_input = (images.astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    expected = affine(network_input).ravel().tolist()
    for value in (images, network_input, [png(image) for image in images]):
        assert scores_of(call(server, encode_request({"images": value}))) == expected


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (
            encode_request({"imges": tensor()}),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "unknown input 'imges'; this model takes 'Placeholder:0' (also 'images', 'Placeholder')",
            ),
        ),
        (
            b"\xff",
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "the bytes received are no tensorflow.serving.PredictRequest",
            ),
        ),
        (
            field(1, field(1, b"other")) + bare_request(),
            (grpc.StatusCode.NOT_FOUND, "no model 'other' here; this service has 'affine'"),
        ),
        (
            field(1, field(3, b"other")) + bare_request(),
            (
                grpc.StatusCode.FAILED_PRECONDITION,
                "unknown signature 'other'; this model has 'serving_default'",
            ),
        ),
        (
            encode_request({"images": [b"\x89PNG\r\n\x1a\n"]}),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "input 'images': the PNG is truncated or damaged: it ends before the IEND chunk; "
                "send the whole file",
            ),
        ),
    ],
    ids=["input", "bytes", "model", "signature", "image"],
)
def test_bad_requests_get_their_status_and_a_good_one_after_them_is_answered(
    server: Server, data: bytes, status: tuple[grpc.StatusCode, str]
) -> None:
    assert refusal(server, data) == status
    assert scores_of(call(server, bare_request())) == affine(tensor())[0].tolist()


def test_the_model_is_described(server: Server) -> None:
    response = GetModelMetadataResponse.FromString(call(server, field(2, b"signature_def"), METADATA))
    assert response.model_spec.name == "affine"
    signatures = SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert (set(signature.inputs), set(signature.outputs)) == ({"images"}, {"output_alias", "features_alias"})


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (
            b"",
            (grpc.StatusCode.INVALID_ARGUMENT, "metadata_field is empty; ask for 'signature_def' or 'manifest'"),
        ),
        (
            field(2, b"variables"),
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "unknown metadata_field 'variables'; ask for 'signature_def' or 'manifest'",
            ),
        ),
        (
            b"\xff",
            (
                grpc.StatusCode.INVALID_ARGUMENT,
                "the bytes received are no tensorflow.serving.GetModelMetadataRequest",
            ),
        ),
        (
            field(1, field(1, b"other")),
            (grpc.StatusCode.NOT_FOUND, "no model 'other' here; this service has 'affine'"),
        ),
    ],
    ids=["empty", "field", "bytes", "model"],
)
def test_bad_metadata_requests_get_their_status(
    server: Server, data: bytes, status: tuple[grpc.StatusCode, str]
) -> None:
    assert refusal(server, data, METADATA) == status


def test_each_output_comes_once_to_a_client_that_says_so(server: Server) -> None:
    answer = call(server, bare_request(), metadata=(("fieldwave-output-names", "once"),))
    assert set(PredictResponse.FromString(answer).outputs) == {"classifier/Softmax:0", "features:0"}


def test_health_knows_the_server_and_the_service(server: Server) -> None:
    with channel(server) as opened:
        health = health_pb2_grpc.HealthStub(opened)
        for service in ("", "tensorflow.serving.PredictionService", "inference.GRPCInferenceService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="other"), timeout=10)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_reflection_client_needs_no_proto_files(server: Server) -> None:
    with channel(server) as opened:
        database = ProtoReflectionDescriptorDatabase(opened)
        assert set(database.get_services()) == {
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
            "inference.GRPCInferenceService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName("tensorflow.serving.PredictionService")
        assert [method.name for method in service.methods] == ["Predict", "GetModelMetadata"]
        method = service.FindMethodByName("Predict")
        request = message_factory.GetMessageClass(method.input_type)()
        request.inputs["images"].dtype = 4
        for size in pixels().shape:
            request.inputs["images"].tensor_shape.dim.add(size=size)
        request.inputs["images"].tensor_content = pixels().tobytes()
        request.output_filter.append("output_alias")
        answer = opened.unary_unary(PREDICT)(request.SerializeToString(), timeout=10)
        response = message_factory.GetMessageClass(method.output_type).FromString(answer)
        assert len(response.outputs["output_alias"].float_val) == 10
        assert pool.FindServiceByName("grpc.health.v1.Health").full_name == "grpc.health.v1.Health"


def test_a_request_above_the_limit_is_refused() -> None:
    with serving(max_message_bytes=1000) as server:
        code, text = refusal(server, encode_request({"images": tensor(10)}))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in text
        assert scores_of(call(server, bare_request()))


def test_the_largest_image_file_and_the_largest_batch_are_no_larger_than_a_request() -> None:
    image = pixels()[0]
    with serving() as server:
        answer = call(server, encode_request({"images": [png(image).ljust(MAX_IMAGE_BYTES, b"\0")]}))
    network_input = (image.astype(np.float32) - np.array([1, 2, 3], np.float32)) * np.float32(0.5)
    assert scores_of(answer) == affine(network_input[np.newaxis])[0].tolist()
    options = ServeOptions(package=package())
    largest = encode_request({"images": np.zeros((options.max_batch, 224, 224, 3), np.float32)})
    assert len(largest) <= options.max_message_bytes


def test_an_unforeseen_error_tells_the_client_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(run: int) -> None:
        if run == 2:
            raise RuntimeError("secret path /etc/keys")

    with serving(Affine(fail)) as server:
        code, text = refusal(server, bare_request())
        assert code is grpc.StatusCode.INTERNAL
        assert text.startswith("internal error; the service's log has the details (request ")
        assert "secret path" in caplog.text
        assert scores_of(call(server, bare_request()))


def test_a_failing_device_makes_the_service_unhealthy_until_it_answers_again() -> None:
    def fail(run: int) -> None:
        if run == 2:
            raise DeviceError("the device is on fire; restart the service")

    with serving(Affine(fail), recovery_seconds=3600) as server, channel(server) as opened:
        health = health_pb2_grpc.HealthStub(opened)
        status = (grpc.StatusCode.UNAVAILABLE, "the device is on fire; restart the service")
        assert refusal(server, bare_request()) == status
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == NOT_SERVING
        assert scores_of(call(server, bare_request()))
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING


def test_a_device_that_recovers_makes_the_service_healthy_without_a_request() -> None:
    def fail(run: int) -> None:
        if run in (2, 3):
            raise DeviceError("the device is on fire; restart the service")

    device = Affine(fail)
    with serving(device, recovery_seconds=0.01) as server, channel(server) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        assert refusal(server, bare_request())[0] is grpc.StatusCode.UNAVAILABLE
        assert [next(watch).status for _ in range(2)] == [NOT_SERVING, SERVING]
        assert device.runs == 4


class Gate:
    """Blocks a device's runs from the second on: the first is the warm-up."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, run: int) -> None:
        if run > 1:
            self.entered.set()
            assert self.open.wait(30)


def test_a_full_service_refuses_at_once_and_still_answers_health() -> None:
    gate = Gate()
    with serving(Affine(gate), workers=1) as server, channel(server) as opened:
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        calls = [opened.unary_unary(PREDICT).future(bare_request(), timeout=30) for _ in range(3)]
        for each in calls:
            each.add_done_callback(done.put)
        refused = done.get(timeout=30)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.details() == "2 predictions are in hand, no more are taken; try again later"
        health = health_pb2_grpc.HealthStub(opened)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
        gate.open.set()
        answered = [scores_of(each.result()) for each in calls if each is not refused]
        assert answered == [affine(tensor())[0].tolist()] * 2


def test_an_expired_request_never_reaches_the_device() -> None:
    gate = Gate()
    device = Affine(gate)
    with serving(device) as server, channel(server) as opened:
        first = opened.unary_unary(PREDICT).future(bare_request(), timeout=30)
        assert gate.entered.wait(10)
        code, _ = refusal(server, bare_request(), timeout=0.1)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        gate.open.set()
        assert scores_of(first.result())
        assert scores_of(call(server, bare_request()))
        assert device.runs == 3


def test_before_the_device_has_answered_the_service_is_not_ready() -> None:
    loading, load = threading.Event(), threading.Event()

    def block(run: int) -> None:
        loading.set()
        assert load.wait(30)

    server = Server(ServeOptions(package=package(), grpc_port=0), Affine(block))
    starting = threading.Thread(target=server.start)
    starting.start()
    assert loading.wait(10)
    with channel(server) as opened:
        health = health_pb2_grpc.HealthStub(opened)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == NOT_SERVING
        status = (grpc.StatusCode.UNAVAILABLE, "model 'affine' is not ready; try again")
        assert refusal(server, bare_request()) == status
        assert refusal(server, bytes(10 << 20)) == status
        load.set()
        assert next(watch).status == SERVING
        starting.join()
        assert scores_of(call(server, bare_request()))
    server.stop()
    assert server.wait(0)


def test_stopping_finishes_what_is_in_hand_and_does_not_wait_for_watchers() -> None:
    gate = Gate()
    device = Affine(gate)
    server = Server(ServeOptions(package=package(), grpc_port=0, grace_seconds=30), device)
    server.start()
    with channel(server) as opened:
        watch = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        in_hand = opened.unary_unary(PREDICT).future(bare_request(), timeout=30)
        assert gate.entered.wait(10)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert next(watch).status == NOT_SERVING
        assert not device.closed.is_set()
        gate.open.set()
        assert scores_of(in_hand.result()) == affine(tensor())[0].tolist()
        with pytest.raises(StopIteration):
            next(watch)
        stopping.join(10)
        assert not stopping.is_alive()
        assert device.closed.is_set()
    server.stop()


def test_a_taken_port_is_said_at_once() -> None:
    with serving() as server:
        device = Affine()
        second = Server(ServeOptions(package=package(), grpc_port=server.port), device)
        with pytest.raises(ConflictError) as caught:
            second.start()
        assert str(caught.value) == (
            f"port {server.port} is in use on 127.0.0.1; choose another with --grpc-port, or 0 for a free one"
        )
        assert device.runs == 0
        assert device.closed.is_set()
        assert scores_of(call(server, bare_request()))


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("nowhere.invalid", "host 'nowhere.invalid' is unknown; use 127.0.0.1 for this machine alone"),
        ("203.0.113.1", "203.0.113.1 is no address of this machine; use 127.0.0.1 for this machine alone"),
    ],
)
def test_a_host_that_is_not_here_is_refused(host: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        Server(ServeOptions(package=package(), host=host, grpc_port=0, insecure=True), Affine()).start()
    assert str(caught.value) == text


def test_which_hosts_only_this_machine_reaches() -> None:
    hosts = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "192.0.2.1", "board.example")
    assert [is_loopback(host) for host in hosts] == [True, True, True, False, False, False, False]


def test_a_port_is_free_again_after_the_server_has_stopped() -> None:
    with serving() as server:
        port = server.port
        call(server, bare_request())
    with serving() as server:
        pass
    with Server(ServeOptions(package=package(), grpc_port=port), Affine()) as server:
        assert server.port == port
        call(server, bare_request())


def test_a_missing_package_and_an_unknown_device_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.zip"
    with pytest.raises(NotFoundError) as caught:
        Server(ServeOptions(package=missing, grpc_port=0)).start()
    assert str(caught.value) == f"no package {missing}; write one with: fieldwave convert --output {missing}"
    with pytest.raises(NotFoundError, match="no device 'gpu'; there are: "):
        Server(ServeOptions(package=package(), grpc_port=0, device="gpu")).start()


def test_a_server_starts_once() -> None:
    server = Server(ServeOptions(package=package(), grpc_port=0), Affine())
    with server:
        with pytest.raises(ServiceError) as caught:
            server.start()
        assert scores_of(call(server, bare_request()))
    assert str(caught.value) == "the server has been started already; make a new one"
