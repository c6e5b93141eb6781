from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest

from fieldwave.errors import DeviceError
from fieldwave.serving.execution import CallerGoneError, Executor
from tests.served import Affine, affine, package, tensor

INPUTS = {"Placeholder:0": tensor()}


@dataclass
class Waiting:
    active: bool = True
    remaining: float | None = None

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
