"""A compute target on a live cluster, or on the stand-in that runs pods; ``make test-kubernetes`` runs this."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from fieldwave.compute import Compute, Computes
from fieldwave.compute.cluster import cluster_errors, connect
from fieldwave.compute.device_plugin import daemon_set
from fieldwave.workspace import Workspace
from tests.cluster.real import RealCluster

pytestmark = pytest.mark.slow


@pytest.fixture
def described(real_cluster: RealCluster) -> Compute:
    namespace = f"fieldwave-test-{secrets.token_hex(4)}"
    return Compute("live", "kubernetes", kubeconfig=real_cluster.kubeconfig, namespace=namespace)


def test_created_limited_and_deleted(described: Compute, tmp_path: Path) -> None:
    from lightkube.resources.core_v1 import Namespace

    computes = Computes(Workspace(tmp_path))
    computes.create(described, limit=2)
    try:
        status = computes.status("live")
        assert (status.state, status.count > 0) == ("Succeeded", True)
        assert status.npus is not None
        assert status.npus.limit == 2
        computes.set_limit("live", 3)
        npus = computes.status("live").npus
        assert npus is not None
        assert npus.limit == 3
        computes.set_limit("live", None)
        npus = computes.status("live").npus
        assert npus is not None
        assert npus.limit is None
    finally:
        computes.delete("live")
    with connect(described) as client:
        left = [one for one in client.list(Namespace) if one.metadata.name == described.namespace]
    assert all(one.status.phase == "Terminating" for one in left)


def test_the_server_takes_the_plugins_daemon_set(described: Compute) -> None:
    """As a dry run: what runs on other people's nodes is for them to say."""
    from lightkube import Client, KubeConfig
    from lightkube.codecs import from_dict

    config = KubeConfig.from_file(described.kubeconfig).get()
    with Client(config, field_manager="fieldwave", dry_run=True) as client, cluster_errors(described):
        applied = client.apply(from_dict(daemon_set("registry.example/digits@sha256:" + "0" * 64)))
    assert applied.metadata.name == "fieldwave-device-plugin"
