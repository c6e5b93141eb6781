"""The port that speaks gRPC without gRPC's library, asked by gRPC's library, and by sockets that say anything."""

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

from fieldwave.bench import prepare
from fieldwave.client import PredictionClient
from fieldwave.errors import InputError
from fieldwave.keys import Keys, write_keys
from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.direct import frames
from fieldwave.serving.direct.call import seconds_of
from fieldwave.wire.messages import HealthCheckRequest, HealthCheckResponse
from fieldwave.wire.methods import HEALTH_CHECK, PREDICT
from tests.served import FEATURES, SCORES, Affine, affine, pixels, png, serving, tensor

INFER = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@contextmanager
def direct(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.direct_port}", UNLIMITED) as channel:
        yield channel


def request(server: Server, protocol: str, value: Any) -> tuple[str, bytes]:
    """Method and message."""
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        made = prepare(client.connections.each[0], protocol, inputs={"images": value})
    return made.method, made.data


def settled(condition: Any) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())


@pytest.mark.parametrize("protocol", ["predict", "oip"])
def test_answers_are_those_of_the_other_port(protocol: str) -> None:
    with (
        serving(None, SCORES, FEATURES, direct_port=0) as server,
        direct(server) as channel,
        grpc.insecure_channel(f"127.0.0.1:{server.port}", UNLIMITED) as other,
    ):
        # 16 x 160 kB of features are more than a client takes before it says so.
        for value in (tensor(1), tensor(16, 1), pixels(3), [png(pixels(1)[0])]):
            method, data = request(server, protocol, value)
            assert channel.unary_unary(method)(data) == other.unary_unary(method)(data)


def test_clients_find_what_they_ask_for() -> None:
    with serving(direct_port=0) as server, PredictionClient(f"127.0.0.1:{server.direct_port}") as client:
        given = tensor(2)
        assert np.array_equal(client.score_numpy_arrays({"images": given}), affine(given))
        with direct(server) as channel:
            answer = channel.unary_unary(HEALTH_CHECK)(HealthCheckRequest().SerializeToString())
        assert HealthCheckResponse.FromString(answer).status == 1


def test_timings_and_the_request_s_id_come_back_when_asked_for() -> None:
    with serving(direct_port=0) as server, direct(server) as channel:
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
        (INFER, bytes(2000), {}, "RESOURCE_EXHAUSTED", "Received message larger than max (2000 vs. 1500)"),
        (
            INFER,
            bytes(1000),
            {"compression": grpc.Compression.Gzip},
            "UNIMPLEMENTED",
            "compressed messages are not read; send them as they are",
        ),
    ],
)
def test_what_is_refused(method: str, data: bytes, options: Any, code: str, text: str) -> None:
    with serving(direct_port=0, max_message_bytes=1500) as server, direct(server) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(method)(data, **options)
        assert caught.value.code().name == code
        assert caught.value.details().startswith(text)
        good, message = request(server, "oip", tensor())
        assert channel.unary_unary(good)(message)  # on the same connection


def test_who_comes_when_all_places_are_taken_is_refused_before_the_request_is_received() -> None:
    go_on = threading.Event()
    device = Affine(lambda run: None if run == 1 else go_on.wait(30) and None)
    with serving(device, direct_port=0, workers=2) as server, direct(server) as channel:
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
    with serving(device, direct_port=0) as server, direct(server) as channel:
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
    with serving(device, direct_port=0, device_seconds=0.1) as server, direct(server) as channel:
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
    with serving(direct_port=0, keys=tmp_path / "keys") as server, direct(server) as channel:
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
            frames.settings([(4, 1 << 20)]),
            frames.frame(frames.HEADERS, frames.END_HEADERS, 1, text),
            frames.frame(frames.PING, 0, 0, bytes(8)),
            frames.frame(frames.DATA, 0, 1, message[:half]),
            frames.window_update(0, 1000),
            frames.frame(frames.DATA, frames.END_STREAM, 1, message[half:]),
        ]
    )


def test_sockets_that_say_anything_harm_nobody() -> None:
    rng = np.random.default_rng(0)
    with serving(direct_port=0) as server, direct(server) as channel:
        good = conversation(server)
        method, data = request(server, "oip", tensor())
        assert server._direct is not None
        for number in range(400):
            said = bytearray(good)
            for _ in range(number % 4):
                said[rng.integers(24 if number % 8 else 0, len(said))] = rng.integers(256)
            if number % 3 == 0:
                del said[rng.integers(len(said)) :]
            with socket.create_connection(("127.0.0.1", server.direct_port)) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(10)
                try:
                    while client.recv(1 << 16):
                        pass
                except ConnectionError:
                    pass
            if number % 50 == 0:
                assert channel.unary_unary(method)(data)
        assert settled(lambda: len(server._direct._connections) == 1)  # type: ignore[union-attr]
        assert settled(lambda: server._direct._held == 0)  # type: ignore[union-attr]
        assert settled(lambda: len(server._models.first.places) == 0)  # type: ignore[union-attr]
        assert channel.unary_unary(method)(data)


def test_a_request_that_does_not_come_is_not_waited_for() -> None:
    with (
        serving(direct_port=0, receive_seconds=0.2) as server,
        socket.create_connection(("127.0.0.1", server.direct_port)) as silent,
        socket.create_connection(("127.0.0.1", server.direct_port)) as half,
    ):
        half.sendall(conversation(server)[:-50])
        for client in (silent, half):
            client.settimeout(10)
            while client.recv(1 << 16):
                pass
        assert server._direct is not None
        assert server._direct._held == 0


def test_a_connection_that_has_grown_old_is_replaced_without_an_error() -> None:
    with serving(direct_port=0, max_connection_age_seconds=0.2) as server, direct(server) as channel:
        method, data = request(server, "oip", tensor())
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert channel.unary_unary(method)(data, wait_for_ready=True)


def test_a_request_in_hand_is_answered_when_the_service_stops() -> None:
    go_on = threading.Event()
    device = Affine(lambda run: None if run == 1 else go_on.wait(30) and None)
    with serving(device, direct_port=0) as server, direct(server) as channel:
        method, data = request(server, "oip", tensor())
        future = channel.unary_unary(method).future(data)
        assert settled(lambda: device.runs == 2)
        stop = threading.Thread(target=server.stop)
        stop.start()
        time.sleep(0.05)
        go_on.set()
        assert future.result()
        stop.join()
        assert not server._direct._connections  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5S", 5.0), ("20m", 0.02), ("1H", 3600.0), ("", None), ("123456789S", None), (None, None)],
)
def test_timeouts(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


def test_long_texts_are_written_as_http_2_wants_them() -> None:
    assert frames._length(126) == b"\x7e"
    assert frames._length(127) == b"\x7f\x00"
    assert frames._length(1337) == b"\x7f\xba\x09"
    assert b"50%25 \t".replace(b"\t", b"%09") in frames.trailers_alone(1, 3, "50% \t")


def test_options(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        ServeOptions(package=tmp_path, direct_port=50051)
    assert str(caught.value) == "the direct port is to be 50051, as something else is; choose two ports"
    with pytest.raises(InputError) as caught:
        ServeOptions(package=tmp_path, direct_port=0, tls_cert=tmp_path, tls_key=tmp_path)
    text = "the direct port knows no TLS, which --tls-cert asks for; leave one of them out"
    assert str(caught.value) == text
