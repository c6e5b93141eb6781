"""examples/lifecycle.py runs as it stands: here, on an edge box, and on a cluster (a stand-in if need be)."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

import fieldwave
from fieldwave.compute import Compute, Computes
from fieldwave.compute.cluster import connect
from fieldwave.workspace import Workspace
from tests import certificates, containers, edge_box
from tests.cluster.real import RealCluster

SCRIPT = Path(__file__).parent.parent / "examples" / "lifecycle.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "fieldwave.toml").touch()
    containers.real_store(tmp_path / ".fieldwave")
    return Workspace(tmp_path)


def run(workspace: Workspace, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])}
    command = [sys.executable, str(SCRIPT), *arguments]
    finished = subprocess.run(
        command, cwd=workspace.root, env=environment, capture_output=True, text=True, timeout=600
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    said = finished.stdout.splitlines()
    assert said[0].startswith("registered lifecycle:1, sha256:")
    assert any(line.startswith("converted to lifecycle-int8:1, from lifecycle:1@sha256:") for line in said)
    assert any(line.startswith("built lifecycle:1, ") for line in said)
    assert any(line.startswith("deployed: lifecycle is Healthy on ") for line in said)
    assert "served 60 digits: 100.0% right" in said
    assert said[-1] == "cleaned up: service, image and both models are deleted"
    assert workspace.registry.find() == []
    assert workspace.images.find() == []


def test_on_this_machine(workspace: Workspace) -> None:
    run(workspace)


@pytest.mark.xdist_group("podman")  # which it starts itself
def test_on_an_edge_box(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    if containers.PROGRAM is None:
        pytest.skip(containers.MISSING)
    with (
        containers.podman(tmp_path_factory.mktemp("podman")) as podman,
        edge_box.running(tmp_path_factory.mktemp("box"), environment=edge_box.podman_environment(podman)) as box,
    ):
        host = box.host
        Computes(workspace).attach(
            Compute("line3", "edge", destination=host.destination, config=host.config, folder=host.folder)
        )
        run(workspace, "--target", "line3")
        assert podman("ps", "-aq") == ""
        assert "fieldwave/lifecycle" not in podman("images")


def test_on_a_cluster(workspace: Workspace, real_cluster: RealCluster) -> None:
    if not real_cluster.registry:
        pytest.skip("no registry: set FIELDWAVE_TEST_REGISTRY to one that the cluster pulls from")
    namespace = f"fieldwave-test-{secrets.token_hex(4)}"
    described = Compute("lab", "kubernetes", kubeconfig=real_cluster.kubeconfig, namespace=namespace)
    computes = Computes(workspace)
    computes.create(described)
    try:
        put_certificate(described, "lifecycle-tls", f"lifecycle.{namespace}.svc")
        settings = (f"registry={real_cluster.registry}", "tls_secret=lifecycle-tls", "cpus=1", "memory=512Mi")
        run(workspace, "--target", "lab", *(part for one in settings for part in ("--set", one)))
    finally:
        computes.delete("lab")


def put_certificate(compute: Compute, name: str, host: str) -> None:
    """A Secret with a certificate for ``host``, as cert-manager makes them."""
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import Secret

    authority = certificates.Authority()
    pair = authority.server((host,))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    data = {key: base64.b64encode(value).decode() for key, value in files.items()}
    with connect(compute) as client:
        client.create(Secret(metadata=ObjectMeta(name=name), data=data))
