"""A whole cluster that runs pods, with a registry that it pulls from, where this machine can have one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import containers, oci_registry
from tests.cluster.podman_kubelet import PodmanKubelet
from tests.cluster.server import serving
from tests.cluster.state import Cluster

__all__ = ["MISSING", "RealCluster", "running"]

MISSING = next(
    (one.MISSING for one in (containers, oci_registry) if one.PROGRAM is None),
    "",
)
"""What it lacks here, and how to get it; empty where it can run."""


@dataclass(frozen=True)
class RealCluster:
    """A cluster that runs.

    Attributes:
        kubeconfig: the file that leads to it.
        registry: from which it pulls, and to which one may push.
        cluster: what its server knows; None for a cluster that is not ours.
    """

    kubeconfig: str
    registry: str
    cluster: Cluster | None = None


@contextmanager
def running(folder: Path) -> Iterator[RealCluster]:
    """One whose state lies in ``folder``; its pods end with it."""
    with containers.podman(folder / "podman") as podman, oci_registry.running(folder) as registry:
        kubelet = PodmanKubelet(podman, folder / "pods")
        cluster = kubelet.cluster = Cluster(kubelet=kubelet)
        with serving(cluster, folder) as path:
            yield RealCluster(str(path), registry, cluster)
