"""Replicas, and services that change while they run; the serving process is the stand-in of deploy_child.py."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fieldwave
from fieldwave.deploy import LocalTarget, Replicas, Service
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import ConflictError, InputError, NotFoundError, PackageError, ServiceError, StorageError
from fieldwave.package import TensorSpec, write_package
from tests.processes import runs
from tests.test_deploy_local import running, supervisor_of, until


def package_of(folder: Path, network: str) -> Path:
    path = folder / f"{network}.zip"
    tensor, result = (TensorSpec(name=name, shape=(None, 2)) for name in ("x:0", "y:0"))
    write_package(path, network=network, model=b"not read here", inputs=[tensor], outputs=[result])
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return package_of(tmp_path, "tiny")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return package_of(tmp_path, "other")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = running(tmp_path, "serving")
    yield target
    for service in target.list():
        target.delete(service.name, timeout=1)


def said_by(address: str) -> tuple[int, str, str]:
    """The process, its device, and the package's file."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        pid, device, file = connection.recv(100).decode().split()
    return int(pid), device, file


def processes(service: Service) -> list[int]:
    return [said_by(address)[0] for address in service.addresses]


def files(target: LocalTarget, name: str) -> list[str]:
    """What is in the service's folder but for what is always there."""
    usual = {"lock", "service.json", "service.log", "status.json"}
    return sorted({entry.name for entry in (target.workspace.services_folder / name).iterdir()} - usual)


def test_replicas_have_an_address_each(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50", replicas=3)
    assert (service.state, service.replicas) == ("Healthy", Replicas(3, 3))
    assert service.addresses[0] == service.address
    assert len(set(service.addresses)) == 3
    pids = processes(service)
    assert len(set(pids)) == 3
    assert service.pid == pids[0]
    target.delete("rn50")
    assert not any(map(runs, pids))


def test_a_replica_that_dies_is_back_on_its_port_and_the_others_do_not_notice(
    target: LocalTarget, package: Path
) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    first, second = processes(service)
    os.kill(supervisor_of(target, "rn50"), signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    until(lambda: not runs(second))
    hurt = target.get("rn50")
    assert (hurt.state, hurt.replicas) == ("Transitioning", Replicas(2, 1))
    assert hurt.reason == f"1 of 2 replicas are ready; process {second} has ended"
    os.kill(supervisor_of(target, "rn50"), signal.SIGCONT)
    until(lambda: target.get("rn50").restarts == 1)
    healed = target.get("rn50").wait(10)
    assert healed.addresses == service.addresses
    assert processes(healed)[0] == first
    assert processes(healed)[1] != second


def test_more_and_fewer_replicas(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    (first,) = processes(service)
    more = target.scale("rn50", 3)
    assert (more.state, more.replicas) == ("Healthy", Replicas(3, 3))
    assert more.addresses[0] == service.address
    pids = processes(more)
    assert pids[0] == first
    fewer = target.scale("rn50", 1)
    assert (fewer.state, fewer.replicas, fewer.addresses) == ("Healthy", Replicas(1, 1), service.addresses)
    assert [runs(pid) for pid in pids] == [True, False, False]
    assert processes(fewer) == [first]


@pytest.mark.parametrize("replicas", [0, -1, 101])
def test_a_number_that_cannot_be_is_refused(replicas: int, target: LocalTarget, package: Path) -> None:
    text = f"{replicas} replicas are not possible; give a number from 1 to 100"
    with pytest.raises(InputError) as caught:
        target.deploy(package, "rn50", replicas=replicas)
    assert str(caught.value) == text
    with pytest.raises(InputError) as caught:
        target.scale("rn50", replicas)
    assert str(caught.value) == text


def test_another_package_is_taken_without_a_restart(target: LocalTarget, package: Path, other: Path) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    before = processes(service)
    updated = target.update("rn50", other)
    assert (updated.state, updated.network, updated.restarts) == ("Healthy", "other", 0)
    assert updated.package != service.package
    assert target.package("rn50").digest == updated.package
    assert processes(updated) == before
    (file,) = files(target, "rn50")
    assert [said_by(address)[2] for address in updated.addresses] == [file, file]
    # And whoever comes after it dies serves the new one.
    os.kill(before[0], signal.SIGKILL)
    until(lambda: target.get("rn50").restarts == 1)
    assert said_by(target.get("rn50").wait(10).address)[2] == file


def test_another_device_is_had_by_new_processes_one_after_the_other(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    before = processes(service)
    updated = target.update("rn50", device="rtl:sim64")
    assert (updated.state, updated.device, updated.restarts) == ("Healthy", "rtl:sim64", 0)
    assert updated.addresses == service.addresses
    said = [said_by(address) for address in updated.addresses]
    assert [device for _, device, _ in said] == ["rtl:sim64"] * 2
    assert not set(before) & {pid for pid, _, _ in said}
    started = [line for line in target.logs("rn50") if "started process" in line or "stopping process" in line]
    kinds = [line.split("supervisor: ")[1].split()[0] for line in started]
    assert kinds == ["started", "started", "stopping", "started", "stopping", "started"]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("bad", "it does not fit"),
        ("deadly", "its process died as it took the package: killed by SIGKILL"),
        ("deaf", "it did not take the package in time"),
    ],
)
def test_a_package_that_does_not_serve_is_taken_back(
    network: str, reason: str, target: LocalTarget, package: Path, tmp_path: Path
) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    with pytest.raises(ServiceError) as caught:
        target.update("rn50", package_of(tmp_path, network), timeout=0.5)
    assert str(caught.value) == f"service 'rn50' stays as it was, it could not be changed: {reason}"
    after = target.get("rn50").wait(10)
    assert (after.package, after.network) == (service.package, "tiny")
    assert [said_by(address)[2] for address in after.addresses] == ["package.zip"] * 2
    assert files(target, "rn50") == ["package.zip"]
    # Nothing is in the way of the next.
    assert target.scale("rn50", 1).replicas == Replicas(1, 1)


def test_a_device_that_does_not_come_up_is_taken_back(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    with pytest.raises(ServiceError) as caught:
        target.update("rn50", device="rtl:tiny")
    expected = "service 'rn50' stays as it was, it could not be changed: the device is away"
    assert str(caught.value) == expected
    after = target.get("rn50").wait(10)
    assert after.device == "cpu"
    assert [said_by(address)[1] for address in after.addresses] == ["cpu", "cpu"]
    assert after.addresses == service.addresses


def test_the_second_replica_has_not_begun_when_the_first_refuses(
    target: LocalTarget, package: Path, tmp_path: Path
) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    before = processes(service)
    with pytest.raises(ServiceError):
        target.update("rn50", package_of(tmp_path, "bad"))
    assert processes(target.get("rn50")) == before


def test_a_change_under_way_is_told_and_another_one_refused(
    target: LocalTarget, package: Path, tmp_path: Path
) -> None:
    target.deploy(package, "rn50")
    deaf = package_of(tmp_path, "deaf")
    asked = target.update("rn50", deaf, wait=False, timeout=2.0)
    assert asked.state in ("Healthy", "Transitioning")
    until(lambda: target.get("rn50").state == "Transitioning")
    digest = ServiceFolder(target.workspace.services_folder / "rn50").read_change()[1].package
    assert target.get("rn50").reason == f"it changes to deaf ({digest[:19]}) on cpu"
    with pytest.raises(ConflictError) as caught:
        target.scale("rn50", 2)
    assert str(caught.value) == "service 'rn50' is being changed already; try again when that is done"
    target.get("rn50").wait(10)
    assert target.scale("rn50", 2).replicas == Replicas(2, 2)


def test_of_those_who_change_at_the_same_time_one_succeeds_or_one_after_the_other(
    target: LocalTarget, package: Path, other: Path
) -> None:
    target.deploy(package, "rn50")
    outcomes: list[str] = []

    def change(replicas: int) -> None:
        try:
            target.scale("rn50", replicas)
            outcomes.append("done")
        except ConflictError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=change, args=[replicas]) for replicas in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in outcomes
    assert set(outcomes) <= {"done", "service 'rn50' is being changed already; try again when that is done"}
    after = target.get("rn50")
    assert after.state == "Healthy"
    assert len(set(processes(after))) == after.replicas.wanted
    assert files(target, "rn50") == ["package.zip"]


def test_a_supervisor_killed_in_mid_change_leaves_what_was(
    target: LocalTarget, package: Path, tmp_path: Path
) -> None:
    service = target.deploy(package, "rn50")
    failures: list[str] = []

    def change() -> None:
        try:
            target.update("rn50", package_of(tmp_path, "deaf"))
        except ServiceError as error:
            failures.append(str(error))

    thread = threading.Thread(target=change)
    thread.start()
    until(lambda: target.get("rn50").state == "Transitioning")
    os.kill(supervisor_of(target, "rn50"), signal.SIGKILL)
    thread.join(10)
    assert failures == ["service 'rn50' ended while it was changed"]
    after = target.get("rn50")
    assert (after.state, after.package, after.network) == ("Failed", service.package, "tiny")
    with pytest.raises(ServiceError) as caught:
        target.scale("rn50", 2)
    assert str(caught.value) == (
        "service 'rn50' does not run, so it cannot be changed; delete it and deploy it again: "
        "fieldwave services delete rn50"
    )
    target.delete("rn50")
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_service_deleted_in_mid_change_is_gone(target: LocalTarget, package: Path, tmp_path: Path) -> None:
    service = target.deploy(package, "rn50")
    target.update("rn50", package_of(tmp_path, "deaf"), wait=False)
    until(lambda: target.get("rn50").state == "Transitioning")
    target.delete("rn50")
    assert not runs(service.pid or 0)
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_change_that_cannot_be_written_changes_nothing(
    target: LocalTarget, package: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = target.deploy(package, "rn50")

    def full(*_: object) -> None:
        raise StorageError("no space")

    monkeypatch.setattr(ServiceFolder, "write_change", full)
    with pytest.raises(StorageError):
        target.update("rn50", other)
    assert files(target, "rn50") == ["package.zip"]
    assert target.get("rn50") == service


def test_a_change_is_kept_as_soon_as_the_disk_has_room_again(
    target: LocalTarget, package: Path, other: Path
) -> None:
    import resource

    service = target.deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    limits = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, limits[1]))
    target.update("rn50", other, wait=False)
    until(lambda: said_by(service.address)[2] != "package.zip")
    # It serves the new one already; that it does is not written down yet.
    assert target.get("rn50").package == service.package
    assert "package.zip" in files(target, "rn50")
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, limits)
    until(lambda: target.get("rn50").package != service.package)
    assert target.get("rn50").wait(10).network == "other"


def test_nothing_to_change_and_nobody_to_change(target: LocalTarget, package: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        target.update("rn50")
    assert str(caught.value) == "nothing to change about service 'rn50'; name a package or a device"
    for change in (lambda: target.update("rn50", package), lambda: target.scale("rn50", 2)):
        with pytest.raises(NotFoundError):
            change()
    target.deploy(package, "rn50")
    with pytest.raises(NotFoundError):
        target.update("rn50", device="fpga9")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(package.read_bytes()[:-9])
    with pytest.raises(PackageError):
        target.update("rn50", damaged)
    assert files(target, "rn50") == ["package.zip"]


def test_a_process_that_hangs_is_unhealthy_and_then_replaced(
    target: LocalTarget, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = target.deploy(package, "rn50", device="rtl:sim16", replicas=2)
    first, _ = processes(service)
    os.kill(first, signal.SIGSTOP)
    until(lambda: target.get("rn50").state == "Unhealthy")
    hung = target.get("rn50")
    assert hung.replicas == Replicas(2, 1)
    assert hung.reason == f"1 of 2 replicas are ready; process {first} is there and does not answer"
    os.kill(first, signal.SIGCONT)
    until(lambda: target.get("rn50").state == "Healthy")
    assert processes(target.get("rn50"))[0] == first
    # One that hangs has no requests to finish.
    os.kill(first, signal.SIGSTOP)
    until(lambda: target.get("rn50").state == "Unhealthy")
    begin = time.monotonic()
    target.delete("rn50")
    assert time.monotonic() - begin < 10
    assert not runs(first)


def test_a_device_in_trouble_is_told_until_it_is_well_again(target: LocalTarget, package: Path) -> None:
    target.deploy(package, "rn50", device="rtl:sim16")
    trouble = target.workspace.services_folder / "rn50" / "trouble"
    trouble.write_text("its device does not answer")
    until(lambda: target.get("rn50").state == "Unhealthy")
    assert target.get("rn50").reason == "its device does not answer"
    trouble.unlink()
    until(lambda: target.get("rn50").state == "Healthy")
    lines = list(target.logs("rn50"))
    assert any(line.endswith("supervisor: its device does not answer") for line in lines)
    assert lines[-1].endswith("answers again")


def test_a_replica_for_which_there_is_no_device_is_taken_back(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50", replicas=2)
    before = processes(service)
    full = target.workspace.services_folder / "rn50" / "full"
    full.touch()
    with pytest.raises(ServiceError) as caught:
        target.scale("rn50", 4)
    reason = "no NPU is free: 1 NPU, held by service a"
    assert str(caught.value) == f"service 'rn50' stays as it was, it could not be changed: {reason}"
    after = target.get("rn50")
    assert (after.state, after.replicas, after.addresses) == ("Healthy", Replicas(2, 2), service.addresses)
    assert processes(after) == before
    # One that had a device and lost it, with its process, is missed; the other serves on.
    os.kill(before[1], signal.SIGKILL)
    until(lambda: target.get("rn50").state == "Unschedulable")
    assert target.get("rn50").reason.endswith("1 NPU, held by service a")
    full.unlink()
    assert target.get("rn50").wait(20).replicas == Replicas(2, 2)


def test_a_line_of_the_log_says_whose_it_is_where_there_are_several(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    assert "behaviour serving" in list(target.logs("rn50"))
    second = target.scale("rn50", 2).addresses[1].split(":")[1]
    assert f"{second} | behaviour serving" in list(target.logs("rn50"))
    assert f"{service.port} | behaviour serving" not in list(target.logs("rn50"))


def test_a_service_with_keys_has_two_and_either_can_be_replaced(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50", secure=True)
    assert service.secure
    keys = target.keys("rn50")
    folder = target.workspace.services_folder / "rn50" / "keys"
    assert folder.stat().st_mode & 0o777 == 0o700
    replaced = target.regenerate_key("rn50", "primary")
    assert replaced.secondary == keys.secondary
    assert replaced.primary != keys.primary
    assert target.keys("rn50") == replaced
    for line in target.logs("rn50", lines=1000):
        assert keys.primary not in line


def test_a_service_without_keys_says_so(target: LocalTarget, package: Path) -> None:
    assert not target.deploy(package, "rn50").secure
    with pytest.raises(InputError) as caught:
        target.keys("rn50")
    assert str(caught.value) == (
        "service 'rn50' has no keys, every process of this machine may call it; "
        "deploy it with --secure to have keys"
    )


@pytest.mark.slow
def test_a_process_that_hangs_for_a_minute_is_killed_and_another_one_comes(
    target: LocalTarget, package: Path
) -> None:
    service = target.deploy(package, "rn50", device="rtl:sim16")
    (first,) = processes(service)
    os.kill(first, signal.SIGSTOP)
    start = time.monotonic()
    until(lambda: target.get("rn50").restarts == 1, seconds=90)
    assert time.monotonic() - start > 50
    after = target.get("rn50").wait(10)
    assert processes(after) != [first]
    assert not runs(first)


@pytest.mark.slow
def test_whenever_who_asks_for_a_change_is_killed_it_is_one_or_the_other(
    target: LocalTarget, package: Path, other: Path
) -> None:
    target.deploy(package, "rn50", replicas=2)
    root = target.workspace.root
    program = """
import sys
from pathlib import Path
from fieldwave import LocalTarget, Workspace
print("begun", flush=True)
LocalTarget(Workspace(Path(sys.argv[1]))).update("rn50", sys.argv[2])
"""
    finished = 0
    for number in range(40):
        source = (other, package)[number % 2]
        asking = subprocess.Popen(
            [sys.executable, "-c", program, str(root), str(source)],
            env={**os.environ, "PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
            stdout=subprocess.PIPE,
        )
        with asking:
            assert asking.stdout is not None and asking.stdout.readline() == b"begun\n"
            with contextlib.suppress(subprocess.TimeoutExpired):
                finished += asking.wait(number * 0.06) == 0
            asking.kill()
        folder = ServiceFolder(target.workspace.services_folder / "rn50")
        until(lambda folder=folder: not folder.change.exists())
        after = target.get("rn50").wait(10)
        assert after.network in ("tiny", "other")
        digests = {target.package("rn50").digest, after.package}
        assert len(digests) == 1
        served = {said_by(address)[2] for address in after.addresses}
        assert served == {folder.read_spec().file}
    assert 0 < finished < 40
    # Nothing of the forty is in the way of the next.
    assert target.update("rn50", package).network == "tiny"


@pytest.mark.slow
def test_whenever_the_supervisor_is_killed_in_a_change_the_service_is_missed_and_deletable(
    target: LocalTarget, package: Path, other: Path
) -> None:
    for number in range(12):
        service = target.deploy(package, "rn50", replicas=2)
        pids = processes(service)
        target.update("rn50", other, wait=False)
        time.sleep(number * 0.004)
        os.kill(supervisor_of(target, "rn50"), signal.SIGKILL)
        until(lambda: target.get("rn50").state == "Failed")
        until(lambda pids=pids: not any(map(runs, pids)))
        after = target.get("rn50")
        assert target.package("rn50").digest == after.package
        target.delete("rn50")
        assert list(target.workspace.services_folder.iterdir()) == []
