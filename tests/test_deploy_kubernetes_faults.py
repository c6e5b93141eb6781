"""A cluster's API server fails at each request that changes a service: nothing is torn, and the rerun succeeds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import ConflictError, FieldwaveError, NotFoundError
from fieldwave.workspace import Workspace
from tests.cluster import Cluster, Object, serving

GOOD = "registry.example/digits@sha256:" + "1" * 64
BETTER = "registry.example/digits@sha256:" + "2" * 64
FAULTS = ("refused", "cut", "lost", "gone")
"""Of one request: 503; the connection ends before it is done; or after. And: from then on nobody answers, which is
how it looks to the server when a client is killed, and to the client when its network is gone."""


@dataclass
class Interference:
    """Lets one request fail, counted from the start; or that and all that come."""

    at: int = -1
    kind: str = ""
    count: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, method: str, path: str) -> str:
        with self._lock:
            number, self.count = self.count, self.count + 1
        if self.kind == "gone":
            return "cut" if number >= self.at else ""
        return self.kind if number == self.at else ""


@dataclass(frozen=True)
class Road:
    """What is done, to which state of before, and which Deployments there may be after it."""

    act: Callable[[KubernetesTarget], object]
    starts: bool
    before: tuple[str, int] | None
    after: tuple[str, int] | None


ROADS = {
    "deploy": Road(lambda target: target.deploy(GOOD, "digits", replicas=2), False, None, (GOOD, 2)),
    "update": Road(lambda target: target.update("digits", BETTER), True, (GOOD, 2), (BETTER, 2)),
    "scale": Road(lambda target: target.scale("digits", 3), True, (GOOD, 2), (GOOD, 3)),
    "keys": Road(lambda target: target.regenerate_key("digits", "primary"), True, (GOOD, 2), (GOOD, 2)),
    "delete": Road(lambda target: target.delete("digits"), True, (GOOD, 2), None),
}
KINDS = {"Service", "Secret", "NetworkPolicy", "PodDisruptionBudget", "Deployment"}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    cluster = Cluster()
    with serving(cluster, tmp_path) as path:
        yield cluster, str(path)


def target_of(kubeconfig: str, folder: Path) -> KubernetesTarget:
    """As a new process has it."""
    compute = Compute("lab", "kubernetes", kubeconfig=kubeconfig, namespace="vision")
    target = KubernetesTarget(compute, Workspace(folder), tls_secret="digits-tls")
    target._patience = Patience(poll=0.0, silence=0.0)
    return target


def state_of(cluster: Cluster) -> tuple[str, int] | None:
    """The image and the number of pods that a service is to have."""
    found: Object | None = cluster.find("Deployment", "digits")
    if found is None:
        return None
    return found["spec"]["template"]["spec"]["containers"][0]["image"], found["spec"]["replicas"]


def tear(cluster: Cluster, path: str, folder: Path, road: Road, at: int, kind: str) -> int:
    """One fault; how many requests there were up to the end of the operation."""
    cluster.fault = lambda method, path: ""
    target = target_of(path, folder)
    for name in [key for key in cluster.objects if key[0] not in ("Namespace", "Node")]:
        del cluster.objects[name]
    if road.starts:
        target.deploy(GOOD, "digits", replicas=2)
    keys = target.keys("digits") if road.starts else None
    cluster.fault = interference = Interference(at, kind)
    error: FieldwaveError | None = None
    try:
        road.act(target_of(path, folder))
    except FieldwaveError as caught:
        error = caught
    cluster.fault = lambda method, path: ""
    assert error is None or "\n" not in str(error)
    assert state_of(cluster) in (road.before, road.after)
    if error is None:
        assert state_of(cluster) == road.after
    if keys is not None and state_of(cluster) is not None:
        now = target.keys("digits")
        assert now.secondary == keys.secondary
    # Done again, by a new process, it succeeds; what a deployment left is named, with how to remove it.
    again = target_of(path, folder)
    try:
        road.act(again)
    except ConflictError as conflict:
        assert road.after is not None and not road.starts
        assert str(conflict).endswith("or delete the service: fieldwave services delete digits")
        again.delete("digits")
        road.act(again)
    except NotFoundError:
        assert road.after is None
    while cluster.pods({"spec": {"selector": {}}, "metadata": {"namespace": "vision"}}) and road.after is None:
        cluster.step()
    assert state_of(cluster) == road.after
    left = {kind for kind, _, _ in cluster.objects} - {"Namespace", "Node", "Pod"}
    assert left == (KINDS if road.after else set())
    return interference.count


@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ROADS)
def test_no_fault_tears_a_service(name: str, every: int, kubeconfig: tuple[Cluster, str], tmp_path: Path) -> None:
    cluster, path = kubeconfig
    requests = tear(cluster, path, tmp_path, ROADS[name], -1, "")
    assert requests > 5
    faults = [(at, kind) for at in range(requests) for kind in FAULTS]
    for at, kind in faults[::every]:
        try:
            tear(cluster, path, tmp_path, ROADS[name], at, kind)
        except Exception as error:
            raise AssertionError(f"request {at} of {requests} was {kind}: {error}") from error
    print(f"\n{name}: {len(faults[::every])} faults in {requests} requests, none tore anything")
