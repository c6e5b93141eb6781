from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.receiving import Receiving
from fieldwave.serving.status import BusyError
from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.requests import encode_request
from tests.served import Affine, affine, channel, package, serving, tensor

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUEST = encode_request({"images": tensor()})
SERVING = health_pb2.HealthCheckResponse.SERVING


class Silent:
    """A call that sends nothing until it is cancelled."""

    def __init__(self) -> None:
        self.waited_for = threading.Event()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.waited_for.set()
        assert self._cancelled.wait(30)
        raise StopIteration


@contextmanager
def silence() -> Iterator[Iterator[Any]]:
    """A stream of requests without any, until the end of the block."""
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    try:
        yield iter(requests.get, None)
    finally:
        requests.put(None)


def test_a_message_that_has_come_is_given() -> None:
    messages = iter((b"one", b"two"))
    receiving = Receiving(1, 30.0)
    assert [receiving.next(messages, Silent()) for _ in range(3)] == [b"one", b"two", None]


def test_calls_that_are_overdue_are_ended_and_others_are_not() -> None:
    patient, strict = Receiving(1, 30.0), Receiving(1, 0.0)
    with ThreadPoolExecutor(2) as pool:
        calls = Silent(), Silent()
        waits = [
            pool.submit(receiving.next, call, call)
            for receiving, call in zip((patient, strict), calls, strict=True)
        ]
        assert all(call.waited_for.wait(10) for call in calls)
        patient.end_overdue()
        strict.end_overdue()
        assert waits[1].result(10) is None
        assert not waits[0].done()
        patient.end()
        assert waits[0].result(10) is None


def test_no_more_calls_wait_than_are_allowed() -> None:
    receiving = Receiving(1, 30.0)
    with ThreadPoolExecutor(1) as pool:
        call = Silent()
        wait = pool.submit(receiving.next, call, call)
        assert call.waited_for.wait(10)
        with pytest.raises(BusyError) as caught:
            receiving.next(iter((b"one",)), Silent())
        assert str(caught.value) == "1 calls wait for their messages, no more are taken; try again later"
        call.cancel()
        wait.result(10)
    assert receiving.next(iter((b"one",)), Silent()) == b"one"


def waiting(receiving: Receiving, pool: ThreadPoolExecutor, client: str) -> tuple[Silent, Any]:
    """A call of ``client`` that waits there, and its future."""
    call = Silent()
    future = pool.submit(receiving.next, call, call, client)
    assert call.waited_for.wait(10)
    return call, future


def test_a_client_with_one_call_is_received_beside_one_with_many() -> None:
    receiving = Receiving(3, 30.0)
    with ThreadPoolExecutor(3) as pool:
        calls = [waiting(receiving, pool, "greedy") for _ in range(3)]
        with pytest.raises(BusyError):
            receiving.next(iter((b"one",)), Silent(), "greedy")
        assert receiving.next(iter((b"one",)), Silent(), "modest") == b"one"
        assert calls[0][1].result(10) is None  # the one that had waited longest
        assert not calls[1][1].done()
        assert (receiving.crowd(), receiving.crowd()) == (3, 2)
        receiving.end()
    assert receiving.crowd() == 2


def test_a_slow_call_makes_room_for_one_that_has_just_come(monkeypatch: pytest.MonkeyPatch) -> None:
    receiving = Receiving(2, 30.0)
    with ThreadPoolExecutor(2) as pool:
        calls = [waiting(receiving, pool, client) for client in ("slow", "other")]
        with pytest.raises(BusyError):
            receiving.next(iter((b"one",)), Silent(), "quick")
        monkeypatch.setattr("fieldwave.serving.receiving._SLOW_SECONDS", 0.0)
        assert receiving.next(iter((b"one",)), Silent(), "quick") == b"one"
        assert calls[0][1].result(10) is None
        assert not calls[1][1].done()
        receiving.end()


def answered(opened: grpc.Channel) -> bool:
    """Whether Predict and health answer on ``opened``."""
    answer = PredictResponse.FromString(opened.unary_unary(PREDICT)(REQUEST, timeout=10))
    health = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=10)
    return (
        list(answer.outputs["output_alias"].float_val) == affine(tensor())[0].tolist() and health.status == SERVING
    )


def test_calls_without_a_request_take_no_prediction_s_place() -> None:
    with serving(workers=1) as server, channel(server) as opened, ExitStack() as streams:
        idle = [
            opened.stream_unary(PREDICT).future(streams.enter_context(silence()), timeout=60) for _ in range(8)
        ]
        assert answered(opened)
        assert not any(call.done() for call in idle)


def test_a_request_that_never_comes_is_not_waited_for() -> None:
    with serving(receive_seconds=0.05) as server, channel(server) as opened, silence() as requests:
        idle = opened.stream_unary(PREDICT).future(requests, timeout=60)
        assert idle.code() is grpc.StatusCode.CANCELLED
        assert answered(opened)


def test_idle_reflection_streams_keep_nobody_waiting() -> None:
    with serving() as server, channel(server) as opened, ExitStack() as streams:
        stub = reflection_pb2_grpc.ServerReflectionStub(opened)
        idle = [stub.ServerReflectionInfo(streams.enter_context(silence()), timeout=60) for _ in range(100)]
        assert answered(opened)
        assert not any(stream.done() for stream in idle)


@pytest.mark.parametrize("method", ["Check", "Watch"])
def test_health_checks_without_a_question_keep_nobody_waiting(method: str) -> None:
    with serving() as server, channel(server) as opened, ExitStack() as streams:
        ask = opened.stream_stream(f"/grpc.health.v1.Health/{method}")
        idle = [ask(streams.enter_context(silence()), timeout=60) for _ in range(100)]
        assert opened.unary_unary(PREDICT)(REQUEST, timeout=10)
        assert answered(opened)
        assert not any(call.done() for call in idle)


def test_a_health_check_without_a_question_is_refused() -> None:
    with serving() as server, channel(server) as opened:
        with pytest.raises(grpc.RpcError) as caught:
            opened.stream_unary("/grpc.health.v1.Health/Check")(iter(()), timeout=10)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == "the call ended without a request"
        assert answered(opened)


def test_a_reflection_stream_that_asks_no_more_is_ended() -> None:
    with serving(receive_seconds=0.05) as server, channel(server) as opened, silence() as silent:

        def one_and_silence() -> Iterator[Any]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            yield from silent

        stream = reflection_pb2_grpc.ServerReflectionStub(opened).ServerReflectionInfo(
            one_and_silence(), timeout=60
        )
        assert len(next(stream).list_services_response.service) == 5
        assert stream.code() is grpc.StatusCode.CANCELLED


def test_stopping_does_not_wait_for_the_silent() -> None:
    server = Server(ServeOptions(package=package(), grpc_port=0, grace_seconds=60), Affine())
    server.start()
    with channel(server) as opened, silence() as first, silence() as second:
        predict = opened.stream_unary(PREDICT).future(first, timeout=120)
        reflect = reflection_pb2_grpc.ServerReflectionStub(opened).ServerReflectionInfo(second, timeout=120)
        assert answered(opened)
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < 20
        # Which of the two depends on whether the end of the call or of the connection is seen first.
        assert predict.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        assert reflect.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
