"""Our own server of gRPC's wire, asked by gRPC's library, and by sockets that say anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from fieldwave.bench import prepare
from fieldwave.client import PredictionClient
from fieldwave.keys import Keys, write_keys
from fieldwave.serving import Server
from fieldwave.serving.http2 import frames
from fieldwave.serving.http2.headers import MalformedError, _integer, _seconds, trailers
from fieldwave.wire.messages import HealthCheckRequest, HealthCheckResponse, ModelInferResponse, PredictResponse
from fieldwave.wire.methods import HEALTH_CHECK, PREDICT
from tests.served import FEATURES, SCORES, Affine, affine, own, serving, settled, tensor

INFER = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@contextmanager
def opened(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", UNLIMITED) as channel:
        yield channel


def request(server: Server, protocol: str, value: Any) -> tuple[str, bytes]:
    """Method and message."""
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        made = prepare(client.connections.each[0], protocol, inputs={"images": value})
    return made.method, made.data


def decoded(protocol: str, data: bytes) -> list[NDArray[Any]]:
    """The tensors of an answer, in the order of their names."""
    if protocol == "predict":
        found = []
        for _, each in sorted(PredictResponse.FromString(data).outputs.items()):
            values = np.frombuffer(each.tensor_content, np.float32) if each.tensor_content else each.float_val
            found.append(np.array(values, np.float32).reshape([size.size for size in each.tensor_shape.dim]))
        return found
    answer = ModelInferResponse.FromString(data)
    pairs = sorted(zip([each.name for each in answer.outputs], answer.raw_output_contents, strict=True))
    shapes = {each.name: list(each.shape) for each in answer.outputs}
    return [np.frombuffer(raw, np.float32).reshape(shapes[name]) for name, raw in pairs]


@pytest.mark.parametrize("protocol", ["predict", "oip"])
def test_large_answers_go_as_the_client_s_windows_let_them(protocol: str) -> None:
    with serving(None, SCORES, FEATURES) as server, opened(server) as channel:
        # 16 x 160 kB of features are more than a client takes before it says so.
        for count in (1, 16, 3):
            value = tensor(count, 1)
            method, data = request(server, protocol, value)
            answers = decoded(protocol, channel.unary_unary(method)(data))
            expected = affine(value)
            assert len(answers) >= 2
            for answer in answers:
                assert np.array_equal(answer, np.resize(expected, answer.shape))


def test_clients_find_what_they_ask_for() -> None:
    with serving() as server, PredictionClient(f"127.0.0.1:{server.port}") as client:
        given = tensor(2)
        assert np.array_equal(client.score_numpy_arrays({"images": given}), affine(given))
        with opened(server) as channel:
            answer = channel.unary_unary(HEALTH_CHECK)(HealthCheckRequest().SerializeToString())
        assert HealthCheckResponse.FromString(answer).status == 1


def test_timings_and_the_request_s_id_come_back_when_asked_for() -> None:
    with serving() as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        asked = (("x-request-id", "seven"), ("server-timing", "1"))
        _, call = channel.unary_unary(method).with_call(data, metadata=asked)
        trailers = dict(call.trailing_metadata())
        assert trailers["x-request-id"] == "seven"
        assert trailers["server-timing"].startswith("decode;dur=")


@pytest.mark.parametrize(
    ("method", "data", "options", "code", "text"),
    [
        (INFER, b"\xff\xff", {}, "INVALID_ARGUMENT", "the bytes received are no inference.ModelInferRequest"),
        (
            PREDICT,
            b"",
            {},
            "INVALID_ARGUMENT",
            "input 'Placeholder:0' is missing; this model takes",
        ),
        ("/inference.GRPCInferenceService/Nothing", b"", {}, "UNIMPLEMENTED", "Method not found!"),
        ("/nothing", b"", {}, "UNIMPLEMENTED", "Method not found!"),
        (
            INFER,
            bytes(100_000),
            {"compression": grpc.Compression.Gzip},
            "RESOURCE_EXHAUSTED",
            "Received message larger than max (1501 vs. 1500)",
        ),
        (INFER, bytes(2000), {}, "RESOURCE_EXHAUSTED", "Received message larger than max (2000 vs. 1500)"),
        (
            PREDICT,
            b"",
            {"compression": grpc.Compression.Gzip},
            "INVALID_ARGUMENT",
            "input 'Placeholder:0' is missing; this model takes",
        ),
    ],
)
def test_what_is_refused(method: str, data: bytes, options: Any, code: str, text: str) -> None:
    with serving(max_message_bytes=1500) as server, opened(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(method)(data, **options)
        assert caught.value.code().name == code
        assert caught.value.details().startswith(text)
        good, message = request(server, "oip", tensor())
        assert channel.unary_unary(good)(message)  # on the same connection


def test_who_comes_when_all_places_are_taken_is_refused_before_the_request_is_received() -> None:
    go_on = threading.Event()
    device = Affine(lambda run: None if run == 1 else go_on.wait(30) and None)
    with serving(device, workers=2) as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        taken = [channel.unary_unary(method).future(data, timeout=30) for _ in range(4)]
        assert settled(lambda: len(server._models.first.places) == 4)  # type: ignore[union-attr]
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(method)(data)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == "4 predictions are in hand, no more are taken; try again later"
        go_on.set()
        assert all(future.result() for future in taken)


def test_what_was_cancelled_or_is_too_late_never_reaches_the_device() -> None:
    go_on = threading.Event()
    device = Affine(lambda run: None if run == 1 else go_on.wait(30) and None)
    with serving(device) as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        call = channel.unary_unary(method)
        first = call.future(data, timeout=30)
        assert settled(lambda: device.runs == 2)
        cancelled, late = call.future(data), call.future(data, timeout=0.1)
        places = server._models.first.places  # type: ignore[union-attr]
        assert settled(lambda: len(places) == 3)
        cancelled.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            late.result()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.05)  # for the cancellation to arrive
        go_on.set()
        assert first.result()
        assert settled(lambda: len(places) == 0)
        assert device.runs == 2


@pytest.mark.parametrize("quick", [False, True])
def test_a_device_that_hangs_holds_nobody(quick: bool) -> None:
    """Nor the thread that runs it, whose call another answers, and whose connection another reads."""
    go_on = threading.Event()
    hang = threading.Event()
    device = Affine(lambda run: go_on.wait(30) and None if hang.is_set() else None)
    with serving(device, device_seconds=0.1) as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        call = channel.unary_unary(method)
        for _ in range(100 if quick else 1):  # until the thread that answers is the one that reads
            call(data)
        hang.set()
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                call(data, timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "has not ended its run" in caught.value.details()
        hang.clear()
        go_on.set()
        assert settled(lambda: server._executor.healthy)  # type: ignore[union-attr]
        assert call(data)
        assert settled(lambda: len(server._models.first.places) == 0)  # type: ignore[union-attr]


def test_who_has_no_key_is_refused(tmp_path: Path) -> None:
    keys = Keys.generate()
    write_keys(tmp_path / "keys", keys)
    with serving(keys=tmp_path / "keys") as server, opened(server) as channel:
        call = channel.unary_unary(INFER)
        for metadata in ((), (("authorization", "Bearer wrong"),)):
            with pytest.raises(grpc.RpcError) as caught:
                call(bytes(100_000), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff", metadata=(("authorization", f"Bearer {keys.primary}"),))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert channel.unary_unary(HEALTH_CHECK)(b"")


def conversation(server: Server, path: bytes = INFER.encode()) -> bytes:
    """What a client says who asks once."""
    data = request(server, "oip", tensor(2))[1]
    text = b"\x83\x86"  # POST, http
    for name, value in ((b":path", path), (b"content-type", b"application/grpc"), (b"te", b"trailers")):
        text += b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
    message = b"\0" + len(data).to_bytes(4, "big") + data
    half = len(message) // 2
    return b"".join(
        [
            frames.PREFACE,
            frames.settings({frames.Setting.INITIAL_WINDOW_SIZE: 1 << 20}),
            frames.frame(frames.Kind.HEADERS, frames.END_HEADERS, 1, text),
            frames.frame(frames.Kind.PING, 0, 0, bytes(8)),
            frames.frame(frames.Kind.DATA, 0, 1, message[:half]),
            frames.window_update(0, 1000),
            frames.frame(frames.Kind.DATA, frames.END_STREAM, 1, message[half:]),
        ]
    )


def test_sockets_that_say_anything_harm_nobody() -> None:
    rng = np.random.default_rng(0)
    with serving() as server, opened(server) as channel:
        good = conversation(server)
        method, data = request(server, "oip", tensor())
        for number in range(400):
            said = bytearray(good)
            for _ in range(number % 4):
                said[rng.integers(24 if number % 8 else 0, len(said))] = rng.integers(256)
            if number % 3 == 0:
                del said[rng.integers(len(said)) :]
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.settimeout(10)
                try:
                    client.sendall(said)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass
                except OSError as error:  # it was closed already
                    assert not isinstance(error, TimeoutError)
            if number % 50 == 0:
                assert channel.unary_unary(method)(data)
        assert settled(lambda: len(own(server)._connections) == 1)
        assert settled(lambda: not own(server)._partial and not own(server)._in_hand)
        assert settled(lambda: len(server._models.first.places) == 0)  # type: ignore[union-attr]
        assert channel.unary_unary(method)(data)


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    with (
        serving(receive_seconds=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port)) as silent,
        socket.create_connection(("127.0.0.1", server.port)) as half,
    ):
        half.sendall(conversation(server)[:-50])
        for client in (silent, half):
            client.settimeout(10)
        while silent.recv(1 << 16):
            pass
        said = b""
        while not said.endswith(frames.reset(1, frames.Code.CANCEL)):
            said += half.recv(1 << 16)
        assert settled(lambda: not own(server)._partial)


def test_a_connection_that_has_grown_old_is_replaced_without_an_error() -> None:
    with serving(max_connection_age_seconds=0.2) as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert channel.unary_unary(method)(data, wait_for_ready=True)


def test_a_request_in_hand_is_answered_when_the_service_stops() -> None:
    go_on = threading.Event()
    device = Affine(lambda run: None if run == 1 else go_on.wait(30) and None)
    with serving(device) as server, opened(server) as channel:
        method, data = request(server, "oip", tensor())
        future = channel.unary_unary(method).future(data)
        assert settled(lambda: device.runs == 2)
        stop = threading.Thread(target=server.stop)
        stop.start()
        time.sleep(0.05)
        go_on.set()
        assert future.result()
        stop.join()
        assert not own(server)._connections


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5S", 5.0), ("20m", 0.02), ("1H", 3600.0), (None, None)],
)
def test_timeouts(text: str | None, seconds: float | None) -> None:
    assert _seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "S", "5", "5x", "123456789S", "-1S", "\u0661S"])
def test_timeouts_that_are_none(text: str) -> None:
    with pytest.raises(MalformedError):
        _seconds(text)


def test_texts_are_written_as_http_2_wants_them() -> None:
    assert _integer(126) == b"\x7e"
    assert _integer(127) == b"\x7f\x00"
    assert _integer(1337) == b"\x7f\xba\x09"
    assert b"50%25 %09%C3%A4" in trailers(grpc.StatusCode.INVALID_ARGUMENT, "50% \t\u00e4")
