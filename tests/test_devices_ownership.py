import multiprocessing
import os
import threading

import pytest

from fieldwave.devices.ownership import Ownership
from fieldwave.errors import DeviceBusyError, DeviceError


def test_one_owner_at_a_time_and_the_error_names_it() -> None:
    ownership = Ownership("npu0")
    worker = threading.Thread(target=ownership.claim, name="worker 7")
    worker.start()
    worker.join()
    with pytest.raises(DeviceBusyError) as error:
        ownership.claim()
    assert str(error.value) == (
        f"device npu0 is in use (opened by process {os.getpid()}, thread 'worker 7'); close it there first"
    )
    ownership.check()


def test_released_it_can_be_claimed_again() -> None:
    ownership = Ownership("cpu")
    for _ in range(2):
        ownership.claim()
        ownership.release()


def test_a_with_statement_claims_what_nobody_has() -> None:
    ownership = Ownership("cpu")
    assert ownership.enter()
    ownership.check()
    for attempt in (ownership.enter, ownership.claim):
        with pytest.raises(DeviceBusyError):
            attempt()


def test_one_with_statement_takes_what_is_open_already() -> None:
    ownership = Ownership("cpu")
    ownership.claim()
    assert not ownership.enter()
    for attempt in (ownership.enter, ownership.claim):
        with pytest.raises(DeviceBusyError):
            attempt()


def test_without_an_owner_nothing_may_be_used() -> None:
    with pytest.raises(DeviceError) as error:
        Ownership("cpu").check()
    assert str(error.value) == "device cpu is not open; call open() first, or use it in a with statement"


def test_of_many_threads_one_becomes_the_owner() -> None:
    ownership = Ownership("cpu")
    barrier = threading.Barrier(8)
    refused: list[DeviceBusyError] = []

    def claim() -> None:
        barrier.wait()
        try:
            ownership.claim()
        except DeviceBusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7


def test_a_forked_process_is_not_the_owner() -> None:
    ownership = Ownership("cpu")
    ownership.claim()
    process = multiprocessing.get_context("fork").Process(target=_must_be_busy, args=(ownership, os.getpid()))
    process.start()
    process.join()
    assert process.exitcode == 0


def _must_be_busy(ownership: Ownership, parent: int) -> None:
    for attempt in (ownership.check, ownership.claim, ownership.enter):
        with pytest.raises(DeviceBusyError, match=f"opened by process {parent}, thread 'MainThread'"):
            attempt()
