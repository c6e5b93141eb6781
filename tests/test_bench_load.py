"""The load generator: when requests come, what counts, and what is sent."""

from __future__ import annotations

import threading
import time

import grpc
import numpy as np
import pytest

from fieldwave.bench import (
    PROTOCOLS,
    ClosedLoop,
    OpenLoop,
    Request,
    Sent,
    arrivals,
    closed_loop,
    open_loop,
    prepare,
)
from fieldwave.client import PredictionClient
from fieldwave.errors import InputError, ServiceError
from fieldwave.serving import Server
from fieldwave.wire.methods import PREDICT
from tests.scripted import failing, scripted
from tests.served import Affine, pixels, png, serving, tensor

REQUEST = Request(PREDICT, b"x")


def test_arrivals_are_a_poisson_process_and_the_same_every_time() -> None:
    load = OpenLoop(1000, seconds=20.0, warm_up=0.0)
    times = arrivals(load)
    assert np.array_equal(times, arrivals(load))
    pauses = np.diff(times)
    assert abs(len(times) - 20_000) < 5 * 20_000**0.5
    assert times[0] >= 0 and times[-1] < 20
    # Of an exponential distribution: mean and deviation are the same, and a part of 1 - 1/e is below the mean.
    assert abs(pauses.std() / pauses.mean() - 1) < 0.05
    assert abs((pauses < pauses.mean()).mean() - 0.632) < 0.02
    assert arrivals(OpenLoop(10, seconds=0.3, warm_up=0.2, arrivals="constant")).tolist() == pytest.approx(
        [0.0, 0.1, 0.2, 0.3, 0.4]
    )


def test_a_service_that_stalls_makes_all_wait_who_come_meanwhile() -> None:
    """One stall of 0.3 s in 1 s at 200/s: a third of the latencies show it, where a closed loop has one."""
    stalled = threading.Event()
    alone = threading.Lock()

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        with alone:
            if time.monotonic() > begin + 0.4 and not stalled.is_set():
                stalled.set()
                time.sleep(0.3)
        return b""

    with scripted(Predict=answer) as script, PredictionClient("127.0.0.1", script.port) as client:
        begin = time.monotonic()
        open_figures = open_loop(client.connections.each, REQUEST, OpenLoop(200, 1.0, "constant", warm_up=0.0))
        stalled.clear()
        begin = time.monotonic()
        closed_figures = closed_loop(client.connections.each, REQUEST, ClosedLoop(1, 1.0, warm_up=0.0))
    assert open_figures.requests == 200 and open_figures.errors == {}
    assert open_figures.worst > 280
    assert open_figures.p90 > 100  # of 60 that wait 0 to 300 ms, 20 are above
    assert closed_figures.worst > 280
    assert closed_figures.p90 < 50


def test_refusals_are_counted_by_status_and_are_no_latencies() -> None:
    refuse = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", times=5)
    with scripted(Predict=refuse) as script, PredictionClient("127.0.0.1", script.port) as client:
        figures = open_loop(client.connections.each, REQUEST, OpenLoop(100, 0.2, "constant", warm_up=0.0))
    assert figures.errors == {"RESOURCE_EXHAUSTED": 5}
    assert figures.requests == 20 and figures.answered == pytest.approx(75)
    gone = failing(grpc.StatusCode.UNAVAILABLE, "away")
    with scripted(Predict=gone) as script, PredictionClient("127.0.0.1", script.port) as client:
        figures = closed_loop(client.connections.each, REQUEST, ClosedLoop(2, 0.1, warm_up=0.0))
    assert list(figures.errors) == ["UNAVAILABLE"] and np.isnan(figures.p50) and figures.answered == 0


def test_callers_of_a_closed_loop_overlap_and_each_waits() -> None:
    with serving(Affine(lambda run: time.sleep(0.01))) as server, connect(server) as client:
        request = prepare(client.connections.each[0])
        one, three = (closed_loop(client.connections.each, request, ClosedLoop(n, 0.5, 0.1)) for n in (1, 3))
    assert one.p50 > 10 and three.p50 > 20  # the device has one at a time
    assert one.answered < 100 and three.answered < 110


def connect(server: Server) -> PredictionClient:
    return PredictionClient("127.0.0.1", server.port)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_sent_is_a_request_of_the_server_s_network(protocol: str) -> None:
    with serving() as server, connect(server) as client:
        connection = client.connections.each[0]
        image = png(pixels()[0])
        for request, images in (
            (prepare(connection, protocol), 1),
            (prepare(connection, protocol, batch=3, model="affine"), 3),
            (prepare(connection, protocol, image=image, batch=2), 2),
            (prepare(connection, protocol, inputs={"images": tensor(4)}), 4),
        ):
            assert request.images == images
            with connection.borrowed(request.method) as (call, metadata):
                assert call(request.data, timeout=10, metadata=metadata)
        with pytest.raises(ServiceError) as caught:
            prepare(connection, protocol, model="other")
        assert caught.value.code == "NOT_FOUND"
    with pytest.raises(InputError) as wrong:
        prepare(connection, protocol, batch=0)
    assert str(wrong.value) == "batch is 0; give at least 1"


def test_what_was_really_sent_is_noted_for_those_who_want_to_know() -> None:
    sent: list[Sent] = []
    with scripted(Predict=lambda *_: b"") as script, PredictionClient("127.0.0.1", script.port) as client:
        figures = open_loop(
            client.connections.each, REQUEST, OpenLoop(100, 0.2, "constant", warm_up=0.0), sent=sent
        )
    assert len(sent) == 20 and figures.requests == 20
    sent.sort()
    assert [one.due for one in sent] == [number / 100 for number in range(20)]
    assert all(one.at >= one.due for one in sent)
    assert all(0 < one.took < 10 for one in sent)
    assert max(one.waited for one in sent) * 1e3 == pytest.approx(figures.worst, abs=20)
