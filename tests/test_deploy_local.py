from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fieldwave
from fieldwave.deploy import LocalTarget, Service
from fieldwave.deploy import port as ports
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import ConflictError, InputError, NotFoundError, PackageError, ServiceError, StorageError
from fieldwave.package import TensorSpec, write_package
from fieldwave.workspace import Workspace
from tests.processes import runs

CHILD = Path(__file__).with_name("deploy_child.py")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "net.zip"
    tensor = TensorSpec(name="x:0", shape=(None, 2))
    result = TensorSpec(name="y:0", shape=(None, 2))
    write_package(path, network="tiny", model=b"not read here", inputs=[tensor], outputs=[result])
    return path


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalTarget]:
    target = running(tmp_path, "serving")
    yield target
    for service in target.list():
        target.delete(service.name, timeout=1)


def running(root: Path, behaviour: str) -> LocalTarget:
    target = LocalTarget(Workspace(root))
    target._command = [sys.executable, str(CHILD), behaviour]
    return target


def ask(service: Service) -> int:
    """The process id of who answers."""
    with socket.create_connection((service.host, service.port), timeout=5) as connection:
        return int(connection.recv(100).split()[0])


def answers(service: Service) -> bool:
    try:
        return ask(service) > 0
    except OSError:
        return False


def binds(one: socket.socket, service: Service) -> bool:
    try:
        one.bind((service.host, service.port))
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - start


def supervisor_of(target: LocalTarget, name: str) -> int:
    status = ServiceFolder(target.workspace.services_folder / name).read_status()
    assert status is not None
    return status.supervisor


def test_a_service_is_deployed_found_and_deleted(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")

    assert (service.name, service.state, service.host) == ("rn50", "Healthy", "127.0.0.1")
    assert (service.network, service.device, service.restarts, service.reason) == ("tiny", "cpu", 0, "")
    assert service.package == target.package("rn50").digest
    assert service.address == f"127.0.0.1:{service.port}"
    assert ask(service) == service.pid
    assert LocalTarget(target.workspace).get("rn50") == service
    assert target.list() == (service,)
    supervisor = supervisor_of(target, "rn50")
    assert runs(supervisor)

    target.delete("rn50")

    assert target.list() == ()
    assert service.pid is not None
    assert not runs(service.pid)
    assert not runs(supervisor)
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_killed_serving_process_is_back_on_its_port(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    for restart in (1, 2):
        before = target.get("rn50")
        assert before.pid is not None
        os.kill(before.pid, signal.SIGKILL)
        until(lambda count=restart: target.get("rn50").restarts == count)
        after = target.get("rn50").wait(10)
        assert after.port == service.port
        assert ask(after) == after.pid != before.pid
    status = ServiceFolder(target.workspace.services_folder / "rn50").read_status()
    assert status is not None
    assert (status.replicas[0].last_exit, status.replicas[0].reason) == ("SIGKILL", "killed by SIGKILL")


def test_the_port_belongs_to_the_service_while_its_process_is_away(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    assert service.pid is not None
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Frozen, the supervisor cannot start the next process before the port is stolen.
    supervisor = supervisor_of(target, "rn50")
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: not runs(service.pid or 0))
    with socket.socket() as honest, pytest.raises(OSError, match="Address already in use"):
        honest.bind((service.host, service.port))
    # Only who insists gets it, and then it is said.
    until(lambda: binds(thief, service))  # the threads of a process that is gone may hold its files for a moment
    thief.listen()
    os.kill(supervisor, signal.SIGCONT)
    taken = f"port {service.port} on 127.0.0.1 is taken by another process"
    until(lambda: target.get("rn50").reason == taken)
    assert target.get("rn50").state == "Transitioning"
    thief.close()
    assert target.get("rn50").wait(10).port == service.port


def test_a_service_that_keeps_dying_is_failed_and_tried_again(target: LocalTarget, package: Path) -> None:
    broken = running(target.workspace.root, "broken")
    service = broken.deploy(package, "rn50", wait=False)
    assert service.state == "Transitioning"
    with pytest.raises(ServiceError) as caught:
        service.wait(20)
    assert str(caught.value) == "service 'rn50' is Failed: ValueError: the network is broken"
    failed = target.get("rn50")
    assert (failed.state, failed.pid, failed.restarts) == ("Failed", None, 5)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("broken", "ValueError: the network is broken"),
        ("silent", "ended with exit code 4"),
        ("reporting", "the device is away; look for it"),
    ],
)
def test_a_first_start_that_fails_says_why_and_leaves_nothing(
    behaviour: str, reason: str, target: LocalTarget, package: Path
) -> None:
    with pytest.raises(ServiceError) as caught:
        running(target.workspace.root, behaviour).deploy(package, "rn50")
    assert str(caught.value) == f"service 'rn50' did not start: {reason}"
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_first_start_that_hangs_is_given_up(target: LocalTarget, package: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        running(target.workspace.root, "hanging").deploy(package, "rn50", timeout=0.5)
    said = str(caught.value)
    assert said.startswith("service 'rn50' was not ready within 0.5 s and was removed; the last line of its log: ")
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_program_that_is_not_there_is_named(target: LocalTarget, package: Path) -> None:
    target._command = ["/nowhere/python"]
    with pytest.raises(ServiceError) as caught:
        target.deploy(package, "rn50")
    assert str(caught.value) == (
        "service 'rn50' did not start: cannot start /nowhere/python: "
        "[Errno 2] No such file or directory: '/nowhere/python'"
    )


def test_waiting_ends(target: LocalTarget, package: Path) -> None:
    hanging = running(target.workspace.root, "hanging")
    service = hanging.deploy(package, "rn50", wait=False)
    with pytest.raises(ServiceError) as caught:
        service.wait(0.1)
    assert str(caught.value) == (
        "service 'rn50' is still Transitioning after 0.1 s: it starts; see fieldwave services logs rn50"
    )
    target.delete("rn50")
    with pytest.raises(NotFoundError):
        service.wait(0.1)


def test_a_service_can_be_deleted_while_it_starts(target: LocalTarget, package: Path) -> None:
    hanging = running(target.workspace.root, "hanging")
    said: list[str] = []

    def deploy() -> None:
        try:
            hanging.deploy(package, "rn50")
        except ServiceError as error:
            said.append(str(error))

    thread = threading.Thread(target=deploy)
    thread.start()
    until(lambda: bool(target.list()))
    target.delete("rn50")
    thread.join(10)
    assert said in (
        ["service 'rn50' was deleted while it started"],
        ["service 'rn50' did not start: it was stopped"],
    )
    assert list(target.workspace.services_folder.iterdir()) == []


def test_those_who_delete_at_the_same_time_are_all_content(target: LocalTarget, package: Path) -> None:
    target.deploy(package, "rn50")
    failures: list[BaseException] = []

    def delete() -> None:
        try:
            target.delete("rn50")
        except NotFoundError:
            pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=delete) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_full_disk_leaves_nothing(target: LocalTarget, package: Path) -> None:
    # No file may grow beyond this many bytes, which write(2) reports as it reports a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    services = target.workspace.create_services_folder()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            target.deploy(package, "rn50")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(caught.value) == f"cannot copy {package} to {services}: File too large"
    assert list(services.iterdir()) == []


def test_a_service_is_restarted_though_nothing_can_be_written(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    assert service.pid is not None
    supervisor = supervisor_of(target, "rn50")
    # For it and what it starts from now on no file may grow, which write(2) reports as it reports a full disk.
    limits = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, limits[1]))
    os.kill(service.pid, signal.SIGKILL)
    until(lambda: not runs(service.pid or 0))

    stale = target.get("rn50")
    assert (stale.state, stale.pid, stale.reason) == ("Transitioning", None, f"process {service.pid} has ended")
    until(lambda: answers(service))
    assert ask(service) != service.pid
    assert target.get("rn50").state == "Transitioning"

    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, limits)
    until(lambda: target.get("rn50").state == "Healthy")
    assert target.get("rn50").pid == ask(service)
    assert target.get("rn50").restarts == 1


def test_a_package_that_changes_under_the_copy_is_refused(
    target: LocalTarget, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = ports.reserve

    def reserve_and_disturb(host: str, port: int) -> socket.socket:
        package.write_bytes(package.read_bytes() + b"!")
        return reserve(host, port)

    monkeypatch.setattr(ports, "reserve", reserve_and_disturb)
    with pytest.raises(PackageError) as caught:
        target.deploy(package, "rn50")
    assert str(caught.value) == f"{package} was changed while it was deployed; deploy it again"
    assert list(target.workspace.services_folder.iterdir()) == []


def test_a_killed_supervisor_takes_its_process_along_and_is_missed(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    os.kill(supervisor_of(target, "rn50"), signal.SIGKILL)
    until(lambda: not runs(service.pid or 0))
    until(lambda: target.get("rn50").state == "Failed")
    gone = target.get("rn50")
    assert gone.pid is None
    assert gone.reason == ("its supervisor is gone; delete it and deploy again: fieldwave services delete rn50")
    with pytest.raises(ConflictError) as caught:
        target.deploy(package, "rn50")
    assert str(caught.value) == (
        f"a service 'rn50' exists already (Failed, port {service.port}); "
        "delete it first: fieldwave services delete rn50"
    )
    target.delete("rn50")
    assert target.list() == ()


def test_a_terminated_supervisor_drains_and_is_stopped(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    os.kill(supervisor, signal.SIGTERM)
    until(lambda: not runs(supervisor))
    stopped = target.get("rn50")
    assert (stopped.state, stopped.pid, stopped.reason) == ("Stopped", None, "")
    assert "drained" in list(target.logs("rn50"))
    with pytest.raises(ServiceError) as caught:
        service.wait(1)
    assert str(caught.value) == "service 'rn50' is Stopped"


def test_a_process_that_does_not_drain_is_killed(target: LocalTarget, package: Path) -> None:
    service = running(target.workspace.root, "stubborn").deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    target.delete("rn50", timeout=0.2)
    until(lambda: not runs(service.pid or 0))
    assert not runs(supervisor)
    assert target.list() == ()


@pytest.mark.slow
def test_the_supervisor_itself_loses_patience_after_15_seconds(target: LocalTarget, package: Path) -> None:
    service = running(target.workspace.root, "stubborn").deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    os.kill(supervisor, signal.SIGTERM)
    until(lambda: not runs(supervisor), seconds=20)
    assert not runs(service.pid or 0)
    assert target.get("rn50").state == "Stopped"
    assert f"process {service.pid} did not end within 15 s and is killed" in "".join(target.logs("rn50"))


def test_removing_the_folder_ends_the_service(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    target.workspace.services_folder.rename(target.workspace.folder / "elsewhere")
    until(lambda: not runs(supervisor) and not runs(service.pid or 0))


def test_a_name_is_given_once_even_to_those_who_race(target: LocalTarget, package: Path) -> None:
    outcomes: list[object] = []

    def deploy() -> None:
        try:
            outcomes.append(target.deploy(package, "rn50"))
        except ConflictError as error:
            outcomes.append(str(error).split(" (")[0])

    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    services = [outcome for outcome in outcomes if isinstance(outcome, Service)]
    assert [service.name for service in services] == ["rn50"]
    assert outcomes.count("a service 'rn50' exists already") == 3
    assert [entry.name for entry in target.workspace.services_folder.iterdir()] == ["rn50"]


def test_a_taken_name_is_refused_with_its_state_and_port(target: LocalTarget, package: Path) -> None:
    service = target.deploy(package, "rn50")
    with pytest.raises(ConflictError) as caught:
        target.deploy(package, "rn50")
    assert str(caught.value) == (
        f"a service 'rn50' exists already (Healthy, port {service.port}); "
        "delete it first: fieldwave services delete rn50"
    )


def test_a_taken_port_is_refused(target: LocalTarget, package: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConflictError) as caught:
            target.deploy(package, "rn50", port=port)
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is taken by another process; choose another, or 0 for a free one"
    )
    service = target.deploy(package, "rn50", port=port)
    assert service.port == port
    with pytest.raises(ConflictError) as caught:
        target.deploy(package, "other", port=port)
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is taken by service 'rn50'; choose another, or 0 for a free one"
    )
    assert [entry.name for entry in target.workspace.services_folder.iterdir()] == ["rn50"]


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port: int, target: LocalTarget, package: Path) -> None:
    with pytest.raises(InputError) as caught:
        target.deploy(package, "rn50", port=port)
    assert str(caught.value) == (f"port {port} does not exist; choose one from 1 to 65535, or 0 for a free one")


@pytest.mark.parametrize("name", ["", "a", "RN50", "5rn", "rn-", "-rn", "r n", "rn/50", "../up", "r" * 33])
def test_a_name_outside_the_grammar_is_refused(name: str, target: LocalTarget, package: Path) -> None:
    with pytest.raises(InputError) as caught:
        target.deploy(package, name)
    assert str(caught.value) == (
        f"{name!r} is no name for a service: 2 to 32 lower-case letters, digits and '-', "
        "a letter first and no '-' last"
    )


def test_a_device_that_is_not_there_is_refused(target: LocalTarget, package: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^no device 'fpga9'; there are: cpu"):
        target.deploy(package, "rn50", device="fpga9")


def test_a_damaged_package_is_refused_before_anything_is_made(target: LocalTarget, package: Path) -> None:
    damaged = bytearray(package.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    package.write_bytes(damaged)
    with pytest.raises(PackageError):
        target.deploy(package, "rn50")
    assert not target.workspace.services_folder.exists()


def test_what_is_not_there_is_said(target: LocalTarget, package: Path) -> None:
    root = target.workspace.root
    for ask_for in (target.get, target.delete, target.logs, target.package):
        with pytest.raises(NotFoundError) as caught:
            ask_for("rn50")
        assert str(caught.value) == f"no service 'rn50' in {root}; there are none"
    target.deploy(package, "bb")
    target.deploy(package, "aa")
    (root / "fieldwave.toml").touch()
    with pytest.raises(NotFoundError) as caught:
        target.delete("../../x")
    assert str(caught.value) == f"no service '../../x' in {root}; there are: aa, bb"


def test_names_sort_and_the_log_is_read(target: LocalTarget, package: Path) -> None:
    target.deploy(package, "bb")
    target.deploy(package, "aa")
    assert [service.name for service in target.list()] == ["aa", "bb"]
    lines = list(target.logs("aa"))
    assert "behaviour serving" in lines
    assert lines[-1].endswith("is ready")
    assert list(target.logs("aa", lines=1)) == lines[-1:]


def test_the_log_is_followed_until_the_service_is_deleted(target: LocalTarget, package: Path) -> None:
    target.deploy(package, "rn50")
    lines = target.logs("rn50", follow=True, lines=1)
    assert next(lines).endswith("is ready")
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(lines))
    reader.start()
    target.delete("rn50")
    reader.join(10)
    assert not reader.is_alive()
    assert "drained" in seen


def test_a_flood_of_output_does_not_stop_the_service(target: LocalTarget, package: Path) -> None:
    service = running(target.workspace.root, "flooding").deploy(package, "rn50")
    assert ask(service) == service.pid
    lines = list(target.logs("rn50", lines=40_000))
    assert [line.split()[1] for line in lines if line.startswith("line ")] == [
        str(number) for number in range(30_000)
    ]


def test_the_process_inherits_nothing_but_the_environment(
    target: LocalTarget, package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    source = Path(fieldwave.__file__).parents[1]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["local", os.path.relpath(source)]))
    running(target.workspace.root, "environment").deploy(package, "rn50")
    lines = list(target.logs("rn50"))
    assert "COLOUR=blue" in lines
    assert f"PYTHONPATH={tmp_path / 'local'}{os.pathsep}{source}" in lines
    assert "cwd=/ session=True" in lines
    assert "descriptors=[0, 1, 2, 3, 4]" in lines  # its output, its socket, and the pipe to the supervisor


def test_a_service_outlives_the_process_that_deployed_it(target: LocalTarget, package: Path) -> None:
    # Found by a way that the service's processes do not share: they are to run the same Fieldwave all the same.
    program = f"""
import sys
sys.path.insert(0, {str(Path(fieldwave.__file__).parents[1])!r})
from pathlib import Path
from fieldwave import LocalTarget, Workspace
target = LocalTarget(Workspace(Path({str(target.workspace.root)!r})))
target._command = [sys.executable, {str(CHILD)!r}, "serving"]
print(target.deploy({str(package)!r}, "rn50").pid)
"""
    # Read through a pipe: were any of it left open in the service, this would not return.
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=20,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    service = target.get("rn50")
    assert (service.state, service.pid) == ("Healthy", int(done.stdout))
    assert ask(service) == service.pid


def test_a_damaged_file_is_shown_and_can_be_deleted(target: LocalTarget, package: Path) -> None:
    target.deploy(package, "good")
    target.deploy(package, "rn50")
    file = target.workspace.services_folder / "rn50" / "service.json"
    file.write_text('{"name": "rn50", "port": "eighty"}')
    good, bad = target.list()
    assert good.state == "Healthy"
    assert (bad.name, bad.state) == ("rn50", "Failed")
    assert bad.reason == (
        f"{file} is damaged; delete the service and deploy it again: fieldwave services delete rn50"
    )
    target.delete("rn50")
    assert [service.name for service in target.list()] == ["good"]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_service_with_a_damaged_status_can_be_deleted(target: LocalTarget, package: Path, frozen: bool) -> None:
    service = target.deploy(package, "rn50")
    supervisor = supervisor_of(target, "rn50")
    if frozen:
        os.kill(supervisor, signal.SIGSTOP)
    (target.workspace.services_folder / "rn50" / "status.json").write_text("{")
    assert target.get("rn50").state == "Failed"
    target.delete("rn50", timeout=0.2 if frozen else 10)
    until(lambda: not runs(service.pid or 0))
    assert not runs(supervisor)
    assert list(target.workspace.services_folder.iterdir()) == []


def test_what_a_crash_left_behind_is_cleared_away(target: LocalTarget, package: Path) -> None:
    services = target.workspace.create_services_folder()
    old, new = services / ".rn50.0123", services / ".rn50.4567"
    for folder in (old, new):
        folder.mkdir()
        (folder / "lock").touch()
    os.utime(old, (0, 0))
    target.deploy(package, "rn50")
    assert sorted(entry.name for entry in services.iterdir()) == [".rn50.4567", "rn50"]
