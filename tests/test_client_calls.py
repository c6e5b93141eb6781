from __future__ import annotations

import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from shutil import which

import grpc
import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.errors import ServiceError, TensorError
from fieldwave.serving import ServeOptions, Server
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import GetModelMetadataResponse, PredictRequest, PredictResponse
from tests.scripted import failing, scripted
from tests.served import Affine, affine, package, serving, tensor

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def answer(**outputs: object) -> bytes:
    response = PredictResponse()
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(to_tensor_proto(array))  # type: ignore[arg-type]
    return response.SerializeToString()


ONE = answer(y=np.ones((1, 2), np.float32))


def client_of(port: int, **options: object) -> PredictionClient:
    return PredictionClient("127.0.0.1", port, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_a_service_that_loads_or_stops_is_tried_again(code: grpc.StatusCode) -> None:
    with scripted(Predict=failing(code, "loading", times=2, then=ONE)) as script:
        with client_of(script.port) as client:
            assert client.score_numpy_arrays({"x": tensor()}).tolist() == [[1, 1]]
        assert len(script.requests) == 3


def test_a_service_that_stays_unavailable_is_given_up_within_the_deadline() -> None:
    with scripted(Predict=failing(UNAVAILABLE, "loading")) as script, client_of(script.port) as client:
        begin = time.monotonic()
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x", timeout=0.3)
        assert time.monotonic() - begin < 5
        assert str(caught.value) == f"127.0.0.1:{script.port} is not available, tried for 0.3 s: loading"
        assert caught.value.code == "UNAVAILABLE"
        assert len(script.requests) > 1


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    ],
)
def test_what_a_service_refuses_is_not_tried_again(code: grpc.StatusCode) -> None:
    with scripted(Predict=failing(code, "no,\nnever")) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x")
        advice = "; give a key or a token as access_token" if code.name == "UNAUTHENTICATED" else ""
        assert str(caught.value) == f"127.0.0.1:{script.port} answered {code.name}: no, never{advice}"
        assert caught.value.code == code.name
        assert len(script.requests) == 1


def test_a_service_that_stays_busy_is_given_up_within_the_deadline() -> None:
    refuse = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "8 predictions are in hand")
    with scripted(Predict=refuse) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x", timeout=0.3)
        expected = f"127.0.0.1:{script.port} is busy, tried for 0.3 s: 8 predictions are in hand"
        assert (str(caught.value), caught.value.code) == (expected, "RESOURCE_EXHAUSTED")
        assert len(script.requests) > 1


def test_a_message_that_is_too_large_is_not_tried_again() -> None:
    text = "SERVER: Received message larger than max (2 vs. 1)"
    refuse = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
    with scripted(Predict=refuse) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x")
        assert str(caught.value) == f"127.0.0.1:{script.port} answered RESOURCE_EXHAUSTED: {text}"
        assert len(script.requests) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_in_the_environment_is_not_asked_for_this_machine(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_grpc_proxy", "no_proxy", "grpc_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with (
        scripted(address="localhost", Predict=lambda *_: ONE) as script,
        PredictionClient(host, script.port) as client,
    ):
        assert client.score_image(b"x").tolist() == [1, 1]


def test_more_clients_than_the_service_takes_are_all_answered() -> None:
    with serving(workers=1) as server, ThreadPoolExecutor(12) as pool:

        def ten_calls(seed: int) -> list[bool]:
            with client_of(server.port) as client:
                array = tensor(seed=seed)
                answers = [client.score_numpy_arrays({"images": array}, "output_alias") for _ in range(10)]
            return [np.array_equal(scores, affine(array)) for scores in answers]

        assert list(pool.map(ten_calls, range(12))) == [[True] * 10] * 12


def test_an_invalid_argument_is_a_tensor_error_in_the_service_s_words() -> None:
    refuse = failing(grpc.StatusCode.INVALID_ARGUMENT, "unknown input 'x'")
    with scripted(Predict=refuse) as script, client_of(script.port) as client:
        with pytest.raises(TensorError) as caught:
            client.score_image(b"x")
        assert str(caught.value) == "unknown input 'x'"
        assert len(script.requests) == 1


def test_a_service_that_does_not_answer_in_time() -> None:
    done = threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        done.wait(30)
        return b""

    with scripted(Predict=hang) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x", timeout=0.1)
        done.set()
        assert str(caught.value) == f"127.0.0.1:{script.port} did not answer within 0.1 s"
        assert caught.value.code == "DEADLINE_EXCEEDED"


def test_closing_a_client_ends_its_calls() -> None:
    called, done = threading.Event(), threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> bytes:
        called.set()
        done.wait(30)
        return b""

    with scripted(Predict=hang) as script, client_of(script.port) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.score_image, b"x", timeout=30)
        assert called.wait(10)
        client.close()
        with pytest.raises(ServiceError) as caught:
            call.result()
        done.set()
        assert str(caught.value) == f"the call to 127.0.0.1:{script.port} was ended by close()"
        assert caught.value.code == "CANCELLED"
        assert len(script.requests) == 1


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with client_of(port) as client, pytest.raises(ServiceError) as caught:
            client.score_image(b"x", timeout=0.2)
        assert str(caught.value).startswith(f"127.0.0.1:{port} is not available, tried for 0.2 s: ")
        assert "Connection refused" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.code == "UNAVAILABLE"


def test_the_token_and_the_route_are_sent_with_every_call() -> None:
    metadata = GetModelMetadataResponse()
    with scripted(Predict=lambda *_: ONE, GetModelMetadata=lambda *_: metadata.SerializeToString()) as script:
        with client_of(script.port, access_token="key", service_name="rn50") as client:
            client.score_image(b"x")
            with pytest.raises(ServiceError):
                client.metadata()
        for sent in script.metadata:
            assert sent["authorization"] == "Bearer key"
            assert sent["x-ms-aml-grpc-service-route"] == "/api/v1/service/rn50"
        assert len(script.metadata) == 2


def test_without_token_and_service_name_no_empty_headers_are_sent() -> None:
    with scripted(Predict=lambda *_: ONE) as script, client_of(script.port) as client:
        client.score_image(b"x")
        assert {"authorization", "x-ms-aml-grpc-service-route"}.isdisjoint(script.metadata[0])


def test_the_filter_has_the_asked_outputs_once() -> None:
    response = answer(a=np.ones(1), b=np.ones(1))
    with scripted(Predict=lambda *_: response) as script, client_of(script.port) as client:
        client.score_numpy_arrays({"x": tensor()}, outputs=["a", "b", "a"])
        client.score_numpy_arrays({"x": tensor()})
        filters = [list(PredictRequest.FromString(request).output_filter) for request in script.requests]
        assert filters == [["a", "b"], []]


def test_an_output_that_did_not_come_is_named_with_those_that_did() -> None:
    # The retired service ignored the filter.
    response = answer(a=np.ones(1), b=np.ones(1))
    with scripted(Predict=lambda *_: response) as script, client_of(script.port) as client:
        for outputs in ("c", ["a", "c"]):
            with pytest.raises(TensorError) as caught:
                client.score_image(b"x", outputs=outputs)
            assert str(caught.value) == f"no output 'c' in the answer of 127.0.0.1:{script.port}; it has 'a', 'b'"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (b"\xff", "sent an answer that is no PredictResponse"),
        (b"", "sent an answer without outputs"),
        (
            b"\x0a\x0a\x0a\x01y\x12\x05\x08\x01\x22\x01x",
            "sent an output 'y' that cannot be read: shape [] of float32 takes 4 bytes, but tensor_content has 1",
        ),
    ],
)
def test_an_answer_that_cannot_be_read_is_the_service_s_fault(response: bytes, text: str) -> None:
    with scripted(Predict=lambda *_: response) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.score_image(b"x")
        assert str(caught.value) == f"127.0.0.1:{script.port} {text}"


def test_outputs_in_raw_bytes_are_read_too() -> None:
    response = PredictResponse()
    response.outputs["y"].CopyFrom(to_tensor_proto(np.ones((1, 2), np.float32), content=True))
    with scripted(Predict=lambda *_: response.SerializeToString()) as script, client_of(script.port) as client:
        scores = client.score_image(b"x")
        scores += 1
        assert scores.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (b"\xff", "sent model metadata that cannot be read"),
        (b"", "sent model metadata without the signature 'serving_default'"),
    ],
)
def test_metadata_that_cannot_be_read(response: bytes, text: str) -> None:
    with scripted(GetModelMetadata=lambda *_: response) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.metadata()
        assert str(caught.value) == f"127.0.0.1:{script.port} {text}"


@pytest.mark.parametrize(("idle", "connections"), [(timedelta(minutes=2), 1), (timedelta(0), 2)])
def test_a_connection_that_was_idle_for_too_long_is_made_anew(idle: timedelta, connections: int) -> None:
    with scripted(Predict=lambda *_: ONE) as script:
        with client_of(script.port, channel_shutdown_timeout=idle) as client:
            client.score_image(b"x")
            client.score_image(b"x")
        assert len(set(script.peers)) == connections


def test_waiting_ends_when_the_service_is_ready() -> None:
    loading, load = threading.Event(), threading.Event()

    def block(run: int) -> None:
        loading.set()
        assert load.wait(30)

    server = Server(ServeOptions(package=package(), grpc_port=0), Affine(block))
    starting = threading.Thread(target=server.start)
    starting.start()
    assert loading.wait(10)
    with client_of(server.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.wait_until_ready(0.1)
        assert str(caught.value) == f"127.0.0.1:{server.port} is not ready after 0.1 s: NOT_SERVING"
        load.set()
        client.wait_until_ready(30)
        assert client.score_numpy_arrays({"images": tensor()}).shape == (1, 10)
    starting.join()
    server.stop()


def test_a_service_without_health_counts_as_ready() -> None:
    with scripted(Predict=lambda *_: ONE) as script, client_of(script.port) as client:
        client.wait_until_ready(10)


def test_waiting_for_a_service_that_refuses_ends_at_once() -> None:
    refuse = failing(grpc.StatusCode.UNAUTHENTICATED, "no key")
    with scripted(Check=refuse) as script, client_of(script.port) as client:
        with pytest.raises(ServiceError) as caught:
            client.wait_until_ready(30)
        assert str(caught.value) == (
            f"127.0.0.1:{script.port} answered UNAUTHENTICATED: no key; give a key or a token as access_token"
        )


def test_waiting_for_nobody() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with client_of(port) as client, pytest.raises(ServiceError) as caught:
            client.wait_until_ready(0.2)
        assert str(caught.value).startswith(f"127.0.0.1:{port} is not ready after 0.2 s: ")


@pytest.mark.skipif(
    which("openssl") is None, reason="needs openssl to make a certificate: apt-get install openssl"
)
def test_tls_with_a_certificate_authority_of_one_s_own(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    )
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    with scripted(credentials=credentials, address="localhost", Predict=lambda *_: ONE) as script:
        trusted = certificate.read_bytes()
        with PredictionClient("localhost", script.port, use_ssl=True, root_certificates=trusted) as client:
            assert client.score_image(b"x").tolist() == [1, 1]
        with PredictionClient("localhost", script.port, use_ssl=True) as client:
            with pytest.raises(ServiceError) as caught:
                client.score_image(b"x", timeout=0.2)
            assert caught.value.code == "UNAVAILABLE"
