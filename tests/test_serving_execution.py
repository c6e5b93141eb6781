from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fieldwave.errors import DeviceError
from fieldwave.serving.caller import CallerGoneError
from fieldwave.serving.execution import Executor
from fieldwave.serving.timings import Timings
from tests.served import Affine, affine, package, tensor

INPUTS = {"Placeholder:0": tensor()}


@dataclass
class Waiting:
    active: bool = True
    remaining: float | None = None
    client: str = ""

    def is_active(self) -> bool:
        return self.active

    def time_remaining(self) -> float | None:
        return self.remaining


def loaded(device: Affine) -> Affine:
    device.load(package())
    return device


def test_the_device_answers() -> None:
    results = Executor(loaded(Affine())).run(INPUTS, Waiting())
    assert np.array_equal(results["classifier/Softmax:0"], affine(tensor()))


@pytest.mark.parametrize("caller", [Waiting(active=False), Waiting(remaining=0.0), Waiting(remaining=-1.0)])
def test_a_caller_who_has_gone_costs_no_run(caller: Waiting) -> None:
    device = loaded(Affine())
    with pytest.raises(CallerGoneError):
        Executor(device).run(INPUTS, caller)
    assert device.runs == 0


def test_a_caller_waits_no_longer_than_it_has_time() -> None:
    running, release = threading.Event(), threading.Event()

    def block(run: int) -> None:
        running.set()
        assert release.wait(10)

    device = loaded(Affine(block))
    executor = Executor(device)
    first = threading.Thread(target=executor.run, args=(INPUTS, Waiting()))
    first.start()
    assert running.wait(10)
    with pytest.raises(CallerGoneError):
        executor.run(INPUTS, Waiting(remaining=0.01))
    release.set()
    first.join()
    assert device.runs == 1


def test_a_deadline_beyond_what_threads_can_wait_is_no_error() -> None:
    assert Executor(loaded(Affine())).run(INPUTS, Waiting(remaining=1e300))


def test_changes_of_the_device_s_health_are_reported() -> None:
    def fail(run: int) -> None:
        if run in (2, 3):
            raise DeviceError("the device is on fire")

    reports: list[bool] = []
    executor = Executor(loaded(Affine(fail)), reports.append)
    executor.run(INPUTS, Waiting())
    assert reports == []
    for _ in range(2):
        with pytest.raises(DeviceError):
            executor.run(INPUTS, Waiting())
    assert reports == [False]
    executor.run(INPUTS, Waiting())
    assert reports == [False, True]


def test_closing_waits_for_the_run_under_way_but_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    running, release = threading.Event(), threading.Event()

    def block(run: int) -> None:
        running.set()
        assert release.wait(10)

    device = loaded(Affine(block))
    executor = Executor(device)
    thread = threading.Thread(target=executor.run, args=(INPUTS, Waiting()))
    thread.start()
    assert running.wait(10)
    executor.close(0.01)
    assert device.closed.is_set()
    assert caplog.messages == ["the device is closed in the middle of a run that did not end in 0.01 s"]
    release.set()
    thread.join()


class Gate:
    """Blocks the device's runs from ``first`` on, until it is opened."""

    def __init__(self, first: int = 1) -> None:
        self.first = first
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, run: int) -> None:
        if run >= self.first:
            self.entered.set()
            assert self.opened.wait(30)


def test_the_device_goes_from_client_to_client() -> None:
    gate, order = Gate(), []

    class Noting(Affine):
        def run(self, inputs: Any) -> Any:
            order.append(float(inputs["Placeholder:0"][0, 0, 0, 0]))
            return super().run(inputs)

    executor = Executor(loaded(Noting(gate)))

    def call(number: int, client: str) -> threading.Thread:
        waiting = executor.waiting
        array = np.full((1, 4, 5, 3), number, np.float32)
        thread = threading.Thread(target=executor.run, args=({"Placeholder:0": array}, Waiting(client=client)))
        thread.start()
        while executor.waiting == waiting and number:
            time.sleep(0.001)
        return thread

    threads = [call(0, "greedy")]
    assert gate.entered.wait(10)
    threads += [call(number, "greedy") for number in (1, 2, 3)] + [call(9, "modest")]
    gate.opened.set()
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 9, 2, 3]


def test_a_caller_that_is_sent_away_waits_no_longer() -> None:
    gate = Gate()
    device = loaded(Affine(gate))
    executor = Executor(device)
    first = threading.Thread(target=executor.run, args=(INPUTS, Waiting()))
    first.start()
    assert gate.entered.wait(10)
    caller, raised = Waiting(), []

    def wait() -> None:
        with pytest.raises(CallerGoneError) as caught:
            executor.run(INPUTS, caller)
        raised.append(caught.value)

    second = threading.Thread(target=wait)
    second.start()
    while not executor.waiting:
        time.sleep(0.001)
    executor.withdraw(Waiting(active=False))  # another
    assert executor.waiting == 1
    executor.withdraw(caller)
    second.join(10)
    assert len(raised) == 1
    gate.opened.set()
    first.join(10)
    assert device.runs == 1


def test_a_run_that_does_not_end_is_given_up_and_its_result_never_used() -> None:
    gate, reports, told = Gate(first=2), [], threading.Event()

    def report(healthy: bool) -> None:
        reports.append(healthy)
        told.set()

    device = loaded(Affine(gate))
    executor = Executor(device, report, patience=0.1)
    executor.run(INPUTS, Waiting())  # how long it usually takes

    def hang() -> str:
        with pytest.raises(DeviceError) as caught:
            executor.run(INPUTS, Waiting())
        return str(caught.value)

    with ThreadPoolExecutor(2) as pool:
        begin = time.monotonic()
        calls = [pool.submit(hang) for _ in range(2)]  # one hangs, one waits
        texts = {call.result(10) for call in calls}
        assert time.monotonic() - begin < 5
    assert texts == {executor_text(texts)}
    assert reports == [False]
    assert not executor.healthy
    assert hang() in texts  # at once
    assert device.runs == 2
    told.clear()
    gate.opened.set()
    assert told.wait(10)
    assert reports == [False, True]
    other = {"Placeholder:0": tensor(seed=3)}
    results = executor.run(other, Waiting())
    assert np.array_equal(results["classifier/Softmax:0"], affine(tensor(seed=3)))
    executor.close(1)


def executor_text(texts: set[str]) -> str:
    (text,) = texts
    assert text.startswith("device affine has not ended its run for 0.")
    return text


def test_a_device_that_hangs_is_not_waited_for_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(first=2)
    device = loaded(Affine(gate))
    executor = Executor(device, patience=0.05)
    executor.run(INPUTS, Waiting())
    with pytest.raises(DeviceError):
        executor.run(INPUTS, Waiting())
    executor.close(0.01)
    assert caplog.messages[1:] == ["the device is closed in the middle of a run that did not end in 0.01 s"]
    assert not device.closed.is_set()
    gate.opened.set()


def test_where_the_time_went_is_added_up() -> None:
    timings = Timings()
    Executor(loaded(Affine(lambda run: time.sleep(0.01)))).run(INPUTS, Waiting(), None, timings)
    assert timings.device >= 0.01
    assert timings.queue > 0
    assert timings.decode == timings.encode == 0
    assert timings.header().startswith("decode;dur=0.000, queue;dur=")
