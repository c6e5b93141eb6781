from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from fieldwave.compute.device_plugin import PluginOptions, run
from fieldwave.compute.device_plugin.plugin import preferred
from fieldwave.compute.device_plugin.pods import Pods
from fieldwave.errors import ConflictError, DeviceBusyError, InputError
from fieldwave.leases import Slot, acquire, read_machine, why_busy
from tests.kubelet import Kubelet

MACHINE = """
[boards.kv260-0]
files = ["{root}/dev/uio4", "{root}/dev/udmabuf0"]
numa = 0
[boards.u250-0]
files = ["{root}/dev/xdma0"]
numa = 1
[boards.u250-1]
numa = 1
"""
HEALTHY = {"kv260-0": "Healthy", "u250-0": "Healthy", "u250-1": "Healthy"}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node with three boards, two of which have device files."""
    (tmp_path / "dev").mkdir()
    for name in ("uio4", "udmabuf0", "xdma0"):
        (tmp_path / "dev" / name).touch()
    (tmp_path / "machine.toml").write_text(MACHINE.format(root=tmp_path))
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    return tmp_path


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the path of a socket is short
        kubelet = Kubelet(Path(folder))
        kubelet.start()
        yield kubelet
        kubelet.stop()


@pytest.fixture
def plugin(node: Path, kubelet: Kubelet) -> Iterator[PluginOptions]:
    options = PluginOptions(folder=kubelet.folder, pod_resources=kubelet.pod_resources, seconds=0.02)
    stopped = threading.Event()
    thread = threading.Thread(target=run, args=(options, stopped))
    thread.start()
    yield options
    stopped.set()
    thread.join(10)
    assert not thread.is_alive()
    assert not (kubelet.folder / "fieldwave-npu.sock").exists()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_the_plugin_registers_and_lists_its_devices(plugin: PluginOptions, kubelet: Kubelet) -> None:
    request = kubelet.registered.get(timeout=10)
    assert (request.version, request.endpoint, request.resource_name) == (
        "v1beta1",
        "fieldwave-npu.sock",
        "fieldwave.dev/npu",
    )
    assert request.options.get_preferred_allocation_available
    assert not request.options.pre_start_required
    assert kubelet.lists.get(timeout=10) == HEALTHY
    assert kubelet.topology == {"kv260-0": [0], "u250-0": [1], "u250-1": [1]}
    assert kubelet.options() == request.options
    kubelet.pre_start("u250-0")


def test_a_container_gets_its_board_alone(plugin: PluginOptions, kubelet: Kubelet, node: Path) -> None:
    kubelet.lists.get(timeout=10)
    first, second = kubelet.allocate(["kv260-0"], ["u250-0", "u250-1"])
    assert [(one.host_path, one.container_path, one.permissions) for one in first.devices] == [
        (f"{node}/dev/uio4", f"{node}/dev/uio4", "rw"),
        (f"{node}/dev/udmabuf0", f"{node}/dev/udmabuf0", "rw"),
    ]
    assert [slot["name"] for slot in json.loads(first.envs["FIELDWAVE_NPUS"])] == ["kv260-0"]
    assert [slot["name"] for slot in json.loads(second.envs["FIELDWAVE_NPUS"])] == ["u250-0", "u250-1"]
    assert not first.mounts
    assert not first.cdi_devices


def test_what_a_container_is_given_is_what_a_lease_takes_in_it(
    plugin: PluginOptions, kubelet: Kubelet, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubelet.lists.get(timeout=10)
    [given] = kubelet.allocate(["u250-1"])
    monkeypatch.setenv("FIELDWAVE_NPUS", given.envs["FIELDWAVE_NPUS"])
    with acquire("board", "a") as lease:
        assert lease.slot == Slot("u250-1", "board", (), "", 1)


def test_boards_of_one_numa_node_go_together(plugin: PluginOptions, kubelet: Kubelet) -> None:
    kubelet.lists.get(timeout=10)
    names = list(HEALTHY)
    assert kubelet.prefer(names, 1) == ["u250-0"]
    assert kubelet.prefer(names, 2) == ["u250-0", "u250-1"]
    assert kubelet.prefer(names, 2, ("kv260-0",)) == ["kv260-0", "u250-0"]
    assert sorted(kubelet.prefer(names, 3)) == sorted(names)
    assert kubelet.prefer(["unknown"], 1) == ["unknown"]


def test_preferences_without_topology() -> None:
    available = {name: Slot(name, "cpu") for name in ("cpu-1", "cpu-0")}
    assert preferred(available, [], 1) == ["cpu-0"]
    assert preferred(available, [], 5) == ["cpu-0", "cpu-1"]


def test_a_board_whose_file_goes_away_is_unhealthy_until_it_is_back(
    plugin: PluginOptions, kubelet: Kubelet, node: Path
) -> None:
    assert kubelet.lists.get(timeout=10) == HEALTHY
    (node / "dev" / "xdma0").unlink()
    assert kubelet.lists.get(timeout=10) == HEALTHY | {"u250-0": "Unhealthy"}
    with pytest.raises(grpc.RpcError) as caught:
        kubelet.allocate(["u250-0"])
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == f"device u250-0 is {node}/dev/xdma0 is not there"
    (node / "dev" / "xdma0").touch()
    assert kubelet.lists.get(timeout=10) == HEALTHY
    assert kubelet.allocate(["u250-0"])


def test_a_board_that_a_local_service_holds_is_not_given_to_a_pod(plugin: PluginOptions, kubelet: Kubelet) -> None:
    assert kubelet.lists.get(timeout=10) == HEALTHY
    with acquire("board:u250-1", "a"):
        assert kubelet.lists.get(timeout=10) == HEALTHY | {"u250-1": "Unhealthy"}
        with pytest.raises(grpc.RpcError) as caught:
            kubelet.allocate(["u250-1"])
        assert caught.value.details() == "device u250-1 is held by service a on the node itself"
    assert kubelet.lists.get(timeout=10) == HEALTHY


def test_a_board_that_a_pod_has_is_held_for_services_on_the_node(
    plugin: PluginOptions, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldwave.compute.device_plugin.pods._YOUNG_SECONDS", 0.1)
    kubelet.list_pods()
    assert kubelet.lists.get(timeout=10) == HEALTHY
    kubelet.allocate(["u250-0"], pod="vision/digits-0")
    until(lambda: why_busy("board:u250-0") == "1 NPU (u250-0), held by service vision/digits-0")
    assert why_busy("board:u250-1") == "", "another resource's device of that name"
    with pytest.raises(ConflictError, match="service vision/digits-0 holds u250-0 and cannot be ended from here"):
        acquire("board:u250-0", "a", "replace")
    assert kubelet.lists.empty(), "to the kubelet it is as healthy as before"
    del kubelet.pods["vision/digits-0"]
    until(lambda: why_busy("board:u250-0") == "")


def test_leases_of_pods_outlive_the_kubelet(node: Path, kubelet: Kubelet) -> None:
    kubelet.list_pods()
    kubelet.pods["vision/digits-0"] = ["u250-0"]
    pods = Pods(kubelet.pod_resources, "fieldwave.dev/npu")
    pods.settle(read_machine().advertised)
    assert why_busy("board:u250-0") == "1 NPU (u250-0), held by service vision/digits-0"
    kubelet.stop()
    pods.settle(read_machine().advertised)
    assert why_busy("board:u250-0"), "a kubelet that restarts has not lost its pods"
    pods.end()
    assert why_busy("board:u250-0") == ""


def test_a_board_that_was_taken_since_the_last_look_is_not_given(node: Path, kubelet: Kubelet) -> None:
    kubelet.list_pods()
    pods = Pods(kubelet.pod_resources, "fieldwave.dev/npu")
    with acquire("board:u250-0", "a"), pytest.raises(DeviceBusyError, match="u250-0 is held by service a"):
        pods.give(read_machine().advertised[1:2])
    pods.give(read_machine().advertised[1:2])
    assert why_busy("board:u250-0") == "1 NPU (u250-0), held by service a new pod"
    pods.end()


def test_a_device_that_is_not_there(plugin: PluginOptions, kubelet: Kubelet) -> None:
    kubelet.lists.get(timeout=10)
    with pytest.raises(grpc.RpcError) as caught:
        kubelet.allocate(["u250-9"])
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "this node has no device 'u250-9'",
    )


def test_the_plugin_registers_again_when_the_kubelet_restarts(plugin: PluginOptions, kubelet: Kubelet) -> None:
    for _ in range(3):
        kubelet.registered.get(timeout=10)
        assert kubelet.lists.get(timeout=10) == HEALTHY
        kubelet.stop()
        kubelet.start()
    kubelet.registered.get(timeout=10)
    assert kubelet.allocate(["kv260-0"])


def test_the_plugin_listens_again_when_its_socket_is_removed(plugin: PluginOptions, kubelet: Kubelet) -> None:
    kubelet.registered.get(timeout=10)
    assert kubelet.lists.get(timeout=10) == HEALTHY
    (plugin.folder / "fieldwave-npu.sock").unlink()
    kubelet.registered.get(timeout=10)
    assert kubelet.lists.get(timeout=10) == HEALTHY


def test_a_refused_registration_is_tried_again(node: Path, kubelet: Kubelet) -> None:
    kubelet.refuse = "the resource is taken"
    stopped, registered = threading.Event(), threading.Event()
    options = PluginOptions(resource="example.com/npu", folder=kubelet.folder, seconds=0.02)
    thread = threading.Thread(target=run, args=(options, stopped, registered.set))
    thread.start()
    assert not registered.wait(0.2)
    kubelet.refuse = ""
    assert kubelet.registered.get(timeout=10).resource_name == "example.com/npu"
    stopped.set()
    thread.join(10)


def test_a_machine_file_that_becomes_wrong_changes_nothing(
    plugin: PluginOptions, kubelet: Kubelet, node: Path
) -> None:
    assert kubelet.lists.get(timeout=10) == HEALTHY
    (node / "machine.toml").write_text("boards = 7")
    with pytest.raises(queue.Empty):
        kubelet.lists.get(timeout=0.2)
    (node / "machine.toml").write_text("cpu = 2")
    assert kubelet.lists.get(timeout=10) == {"cpu-0": "Healthy", "cpu-1": "Healthy"}


def test_device_files_are_looked_for_under_the_nodes_root(node: Path, kubelet: Kubelet) -> None:
    (node / "machine.toml").write_text('[boards.a]\nfiles = ["/dev/uio4"]\n[boards.b]\nfiles = ["/dev/uio5"]\n')
    stopped = threading.Event()
    options = PluginOptions(folder=kubelet.folder, root=node, seconds=0.02)
    thread = threading.Thread(target=run, args=(options, stopped))
    thread.start()
    assert kubelet.lists.get(timeout=10) == {"a": "Healthy", "b": "Unhealthy"}
    stopped.set()
    thread.join(10)


def test_options_that_cannot_be() -> None:
    with pytest.raises(InputError, match="is too long for a socket, at most 107 bytes"):
        PluginOptions(folder=Path("/" + "x" * 100))
    with pytest.raises(InputError) as caught:
        PluginOptions(seconds=0)
    assert str(caught.value) == "seconds is 0; it must be more than 0"


def test_the_command_waits_for_a_kubelet_and_ends_by_sigterm(node: Path, kubelet: Kubelet) -> None:
    kubelet.stop()
    (kubelet.folder / "kubelet.sock").unlink(missing_ok=True)
    command = [sys.executable, "-m", "fieldwave", "device-plugin", "run"]
    child = subprocess.Popen(
        [*command, "--folder", str(kubelet.folder), "--seconds", "0.05"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert child.stderr is not None
        assert f"no kubelet at {kubelet.folder}/kubelet.sock yet" in child.stderr.readline()
        kubelet.start()
        assert kubelet.lists.get(timeout=10) == HEALTHY
        child.send_signal(signal.SIGTERM)
        start = time.monotonic()
        assert child.wait(10) == 0
        assert time.monotonic() - start < 5
    finally:
        child.kill()
        child.communicate()
