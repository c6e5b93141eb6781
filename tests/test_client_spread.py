"""One client of several replicas."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import grpc
import numpy as np
import pytest

from fieldwave.client import PredictionClient
from fieldwave.client.address import targets_of
from fieldwave.errors import InputError, NotFoundError, ServiceError, TensorError
from fieldwave.wire import to_tensor_proto
from fieldwave.wire.messages import HealthCheckResponse, PredictResponse
from tests.scripted import Answer, Script, failing, scripted
from tests.served import affine, serving, tensor


def answer() -> bytes:
    response = PredictResponse()
    response.outputs["y"].CopyFrom(to_tensor_proto(np.ones((1, 2), np.float32)))
    data: bytes = response.SerializeToString()
    return data


ONE = answer()
INPUT = {"x": np.zeros((1, 1), np.float32)}


@contextmanager
def replicas(*answers: Answer) -> Iterator[list[Script]]:
    with ExitStack() as stack:
        yield [stack.enter_context(scripted(Predict=one)) for one in answers]


@contextmanager
def client_of(*ports: int) -> Iterator[PredictionClient]:
    with PredictionClient([f"127.0.0.1:{port}" for port in ports]) as client:
        yield client


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def good(request: bytes, context: grpc.ServicerContext) -> bytes:
    return ONE


def test_calls_go_round() -> None:
    with replicas(good, good, good) as scripts, client_of(*(script.port for script in scripts)) as client:
        for _ in range(9):
            client.score_numpy_arrays(INPUT)
        assert [len(script.requests) for script in scripts] == [3, 3, 3]


def test_one_that_is_gone_is_left_out_and_nobody_notices(nobody: int) -> None:
    with replicas(good, good) as (first, second), client_of(first.port, nobody, second.port) as client:
        begin = time.monotonic()
        for _ in range(10):
            client.score_numpy_arrays(INPUT, timeout=5)
        assert time.monotonic() - begin < 3
        assert len(first.requests) + len(second.requests) == 10
        assert min(len(first.requests), len(second.requests)) >= 3


def test_one_that_was_gone_is_asked_again_after_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.spread._FIRST_REST", 0.05)
    away = failing(grpc.StatusCode.UNAVAILABLE, "loading", times=1, then=ONE)
    with replicas(away, good) as (first, second), client_of(first.port, second.port) as client:
        client.score_numpy_arrays(INPUT)
        assert (len(first.requests), len(second.requests)) == (1, 1)
        deadline = time.monotonic() + 10
        while len(first.requests) < 3:
            assert time.monotonic() < deadline
            client.score_numpy_arrays(INPUT)


def test_a_rest_grows_while_it_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.spread._FIRST_REST", 0.02)
    away = failing(grpc.StatusCode.UNAVAILABLE, "loading")
    with replicas(away, good) as (first, second), client_of(first.port, second.port) as client:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            client.score_numpy_arrays(INPUT)
        # After 0.02, 0.04, 0.08, 0.16, 0.32 s.
        assert 2 <= len(first.requests) <= 6
        assert len(second.requests) > 20


def test_one_that_is_busy_sends_the_call_to_the_next_at_once() -> None:
    busy = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "8 predictions are in hand")
    with replicas(busy, good) as (first, second), client_of(first.port, second.port) as client:
        for _ in range(4):
            client.score_numpy_arrays(INPUT)
        # It is not left out for that.
        assert (len(first.requests), len(second.requests)) == (2, 4)


def test_what_one_refuses_is_not_asked_of_the_others() -> None:
    refuse = failing(grpc.StatusCode.INVALID_ARGUMENT, "unknown input 'x'")
    with replicas(refuse, good) as (first, second), client_of(first.port, second.port) as client:
        with pytest.raises(TensorError):
            client.score_numpy_arrays(INPUT)
        assert (len(first.requests), len(second.requests)) == (1, 0)


def test_a_process_that_hangs_before_it_accepts_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.scoring._CONNECT_SECONDS_WITH_OTHERS", 0.2)
    # The kernel takes the connection, as it does for a stopped process, and nobody speaks.
    with socket.create_server(("127.0.0.1", 0)) as hanging, replicas(good) as (script,):
        with client_of(hanging.getsockname()[1], script.port) as client:
            begin = time.monotonic()
            for _ in range(5):
                client.score_numpy_arrays(INPUT, timeout=10)
            assert time.monotonic() - begin < 5
        assert len(script.requests) == 5


def test_all_of_them_gone_is_said_with_their_addresses(nobody: int) -> None:
    with client_of(nobody, nobody + 1) as client, pytest.raises(ServiceError) as caught:
        client.score_numpy_arrays(INPUT, timeout=0.3)
    start = f"127.0.0.1:{nobody}, 127.0.0.1:{nobody + 1} is not available, tried for 0.3 s: "
    assert str(caught.value).startswith(start)
    assert caught.value.code == "UNAVAILABLE"


def test_a_service_is_ready_when_one_of_them_is(nobody: int) -> None:
    serving_ = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
    with scripted(Check=lambda *_: serving_) as script, client_of(nobody, script.port) as client:
        client.wait_until_ready(5)


def test_close_is_for_all_and_ends_the_call_under_way() -> None:
    held, told = threading.Event(), threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        held.set()
        told.wait(10)
        return ONE

    with replicas(wait, wait) as (first, second), client_of(first.port, second.port) as client:
        caught: list[ServiceError] = []

        def score() -> None:
            try:
                client.score_numpy_arrays(INPUT)
            except ServiceError as error:
                caught.append(error)

        thread = threading.Thread(target=score)
        thread.start()
        assert held.wait(10)
        client.close()
        thread.join(10)
        told.set()
        assert [error.code for error in caught] == ["CANCELLED"]
        assert len(first.requests) + len(second.requests) == 1


def test_a_replica_that_goes_under_load_costs_no_answer() -> None:
    with serving() as first, serving() as second:
        failures: list[BaseException] = []
        answers: list[bool] = []

        def load(seed: int) -> None:
            array = tensor(seed=seed)
            try:
                with client_of(first.port, second.port) as client:
                    for _ in range(60):
                        answers.append(np.array_equal(client.score_numpy_arrays({"images": array}), affine(array)))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=load, args=[seed]) for seed in range(3)]
        for thread in threads:
            thread.start()
        while len(answers) < 30 and not failures:
            time.sleep(0.001)
        first.stop(0)
        for thread in threads:
            thread.join()
        assert failures == []
        assert answers == [True] * 180


def test_a_function_tells_which_replicas_there_are_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.spread._LEARN_SECONDS", 0.05)
    held, told = threading.Event(), threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        held.set()
        assert told.wait(10)
        return ONE

    with replicas(wait, good, good) as (first, second, third):
        there = [f"127.0.0.1:{first.port}"]
        with PredictionClient(lambda: there) as client:
            answers: list[object] = []
            thread = threading.Thread(target=lambda: answers.append(client.score_numpy_arrays(INPUT)))
            thread.start()
            assert held.wait(10)
            there[:] = [f"127.0.0.1:{second.port}", f"127.0.0.1:{third.port}"]
            end = time.monotonic() + 10
            while not (second.requests and third.requests):
                assert time.monotonic() < end
                with suppress(ServiceError):
                    client.score_numpy_arrays(INPUT, timeout=0.05)
            assert f"127.0.0.1:{first.port}" not in client.connections.target
            told.set()  # a call that is under way where nobody goes any more has its answer
            thread.join(10)
            assert len(answers) == 1
            count = len(first.requests)
            for _ in range(10):
                client.score_numpy_arrays(INPUT)
            assert len(first.requests) == count


def test_after_a_failure_the_addresses_are_asked_for_at_once(nobody: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.spread._LEARN_SECONDS_AFTER_FAILURE", 0.0)
    asked: list[int] = []

    def addresses() -> str:
        asked.append(1)
        return f"127.0.0.1:{nobody if len(asked) == 1 else script.port}"

    with scripted(Predict=good) as script, PredictionClient(addresses) as client:
        assert client.score_numpy_arrays(INPUT, timeout=10).tolist() == [[1, 1]]
    assert len(asked) == 2


def test_what_cannot_be_told_leaves_the_addresses_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldwave.client.spread._LEARN_SECONDS", 0.0)
    asked: list[int] = []

    def addresses() -> list[str]:
        asked.append(1)
        if len(asked) > 1:
            raise NotFoundError("no service of that name")
        return [f"127.0.0.1:{script.port}"]

    with scripted(Predict=good) as script, PredictionClient(addresses) as client:
        for _ in range(3):
            client.score_numpy_arrays(INPUT)
    assert len(asked) == 4


def test_each_address_counts_once() -> None:
    assert targets_of(["a:1", "b", "a:1"], None, use_ssl=False) == ("a:1", "b:80")
    assert targets_of("a", 5, use_ssl=False) == ("a:5",)
    with pytest.raises(InputError) as caught:
        PredictionClient([])
    assert str(caught.value) == "address is None; give the host name or the IP address of the service"
