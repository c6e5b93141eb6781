"""The device plugin as its DaemonSet runs it: the manifest's pod in podman, from a real image, with its rights.

The kubelet beside it is the stand-in.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldwave.compute.device_plugin import daemon_set
from fieldwave.deploy.kubernetes import to_yaml
from fieldwave.leases import acquire
from tests.containers import Podman
from tests.kubelet import Kubelet

pytestmark = pytest.mark.slow

HEALTHY = {"kv260-0": "Healthy", "u250-0": "Healthy"}


@pytest.fixture
def node() -> Iterator[Path]:
    """What the pod sees of its node, in a folder of a short name: sockets, devices, settings, leases."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        node = Path(folder)
        for name in ("kubelet", "pods", "devices", "settings", "leases"):
            (node / name).mkdir()
        for name in ("uio4", "xdma0"):
            (node / "devices" / name).touch()
        (node / "settings" / "machine.toml").write_text(
            '[boards.kv260-0]\nfiles = ["/dev/uio4"]\n[boards.u250-0]\nfiles = ["/dev/xdma0"]\n'
        )
        yield node


def pod_on(node: Path, image: str) -> dict[str, Any]:
    """The pod of the DaemonSet, on a node whose folders lie elsewhere."""
    template = daemon_set(image)["spec"]["template"]
    for volume in template["spec"]["volumes"]:
        volume["hostPath"]["path"] = str(node / volume["name"])
    for container in template["spec"]["containers"]:
        container["imagePullPolicy"] = "Never"
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "plugin", **template["metadata"]}}


def test_the_plugin_of_the_manifest_serves_a_kubelet(
    podman: Podman, digits_image: str, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(node / "settings" / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(node / "leases"))
    kubelet = Kubelet(node / "kubelet")
    kubelet.start()
    (node / "plugin.yaml").write_text(to_yaml([pod_on(node, digits_image)]))
    podman("play", "kube", str(node / "plugin.yaml"))
    try:
        try:
            kubelet.registered.get(timeout=60)
        except Exception:
            pytest.fail(podman("logs", "plugin-device-plugin", check=False))
        assert kubelet.lists.get(timeout=10) == HEALTHY
        [given] = kubelet.allocate(["kv260-0"])
        assert [one.host_path for one in given.devices] == ["/dev/uio4"]
        assert [slot["name"] for slot in json.loads(given.envs["FIELDWAVE_NPUS"])] == ["kv260-0"]
        (node / "devices" / "uio4").unlink()
        assert kubelet.lists.get(timeout=10) == HEALTHY | {"kv260-0": "Unhealthy"}
        (node / "devices" / "uio4").touch()
        assert kubelet.lists.get(timeout=10) == HEALTHY
        with acquire("board:u250-0", "digits"):
            assert kubelet.lists.get(timeout=10) == HEALTHY | {"u250-0": "Unhealthy"}
        assert kubelet.lists.get(timeout=10) == HEALTHY
        kubelet.stop()
        kubelet.start()
        kubelet.registered.get(timeout=10)
        assert kubelet.lists.get(timeout=10) == HEALTHY
        print(podman("stats", "--no-stream", "--format", "memory: {{.MemUsageBytes}}", "plugin-device-plugin"))
    finally:
        podman("play", "kube", "--down", str(node / "plugin.yaml"), check=False)
        kubelet.stop()
