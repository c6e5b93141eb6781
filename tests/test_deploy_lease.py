"""Services and NPUs that others hold: refused, waiting, thrown out; by real serving processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget, Replicas
from fieldwave.errors import ServiceError
from fieldwave.leases import acquire
from fieldwave.workspace import Workspace


@pytest.fixture(autouse=True)
def two_npus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which two simulated NPUs may run."""
    (tmp_path / "machine.toml").write_text("rtl = 2\n")
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = LocalTarget(Workspace(tmp_path))
    yield target
    for service in target.list():
        target.delete(service.name, timeout=5)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.01)


HELD = "2 NPUs, both held by services a and b"


def test_who_does_not_wait_is_refused_by_name_and_nothing_is_left(target: LocalTarget, digits: Conversion) -> None:
    with acquire("rtl", "a"), acquire("rtl", "b"), pytest.raises(ServiceError) as caught:
        target.deploy(digits.path, "digits", device="rtl:tiny")
    assert str(caught.value) == (
        f"service 'digits' did not start: no NPU is free for digits: {HELD}; "
        "delete a service, or deploy with --when-busy wait or replace"
    )
    assert target.list() == ()


def test_who_waits_is_unschedulable_with_the_reason(target: LocalTarget, digits: Conversion) -> None:
    with acquire("rtl", "a"), acquire("rtl", "b"):
        service = target.deploy(digits.path, "digits", device="rtl:tiny", when_busy="wait", wait=False)
        until(lambda: target.get("digits").state == "Unschedulable")
        waiting = target.get("digits")
        assert (waiting.reason, waiting.replicas) == (HELD, Replicas(1, 0))
        assert waiting.pid is not None
        # It may be changed while it waits: the processor is free.
        updated = target.update("digits", device="cpu")
        assert (updated.state, updated.device, updated.address) == ("Healthy", "cpu", service.address)
        # And back to where it would have to wait.
        again = target.update("digits", device="rtl:tiny")
        assert (again.state, again.reason) == ("Unschedulable", HELD)
        begin = time.monotonic()
        target.delete("digits")
        assert time.monotonic() - begin < 5


@pytest.mark.slow
def test_who_waits_gives_up_after_its_time(target: LocalTarget, digits: Conversion) -> None:
    with acquire("rtl", "a"), acquire("rtl", "b"), pytest.raises(ServiceError) as caught:
        target.deploy(digits.path, "digits", device="rtl:tiny", when_busy="wait", timeout=4)
    assert str(caught.value) == f"service 'digits' was not ready within 4 s and was removed; {HELD}"
    assert target.list() == ()


@pytest.mark.slow
def test_a_device_that_is_held_changes_nothing_for_who_wants_to_change_to_it(
    target: LocalTarget, digits: Conversion
) -> None:
    service = target.deploy(digits.path, "digits")
    with acquire("rtl", "a"), acquire("rtl", "b"), pytest.raises(ServiceError) as caught:
        target.update("digits", device="rtl:tiny")
    assert str(caught.value) == (
        f"service 'digits' stays as it was, it could not be changed: no NPU is free for digits: {HELD}; "
        "delete a service, or deploy with --when-busy wait or replace"
    )
    after = target.get("digits").wait(20)
    assert (after.device, after.address) == ("cpu", service.address)
