from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldwave.compute import Compute
from fieldwave.deploy.kubernetes.rollout import Patience
from fieldwave.deploy.kubernetes.target import KubernetesTarget
from fieldwave.errors import ConflictError, DeviceBusyError, HostError, InputError, NotFoundError, ServiceError
from fieldwave.images import Images, add_base
from fieldwave.store import RegistryStore
from fieldwave.workspace import Workspace
from tests import oci_registry
from tests.cluster import Cluster, Refused, serving
from tests.image_parts import base, package, wheelhouse

__all__ = ["wheelhouse"]

GOOD = "registry.example/digits@sha256:" + "1" * 64
BETTER = "registry.example/digits@sha256:" + "2" * 64
BROKEN = "registry.example/broken@sha256:" + "3" * 64


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(npus=2)
    cluster.fate["registry.example/broken"] = "crash"
    return cluster


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    with serving(cluster, tmp_path) as path:
        yield str(path)


@pytest.fixture
def target(kubeconfig: str, tmp_path: Path) -> KubernetesTarget:
    return target_of(kubeconfig, tmp_path, tls_secret="digits-tls")


def target_of(kubeconfig: str, folder: Path, **settings: Any) -> KubernetesTarget:
    compute = Compute("lab", "kubernetes", kubeconfig=kubeconfig, namespace="vision")
    target = KubernetesTarget(compute, Workspace(folder), **settings)
    target._patience = Patience({"Failed": 0.05, "Unhealthy": 0.05, "Unschedulable": 0.05}, poll=0.005)
    return target


def ours(cluster: Cluster) -> set[str]:
    return {key[0] for key in cluster.objects} - {"Namespace", "Node"}


def image_of(cluster: Cluster) -> str:
    spec = cluster.find("Deployment", "digits")["spec"]["template"]["spec"]
    return str(spec["containers"][0]["image"])


def test_a_service_is_deployed_seen_and_deleted(cluster: Cluster, target: KubernetesTarget) -> None:
    service = target.deploy(GOOD, "digits", replicas=2)
    assert (service.state, service.reason) == ("Healthy", "")
    assert (service.replicas.wanted, service.replicas.ready) == (2, 2)
    assert service.address == "digits.vision.svc:50051"
    assert (service.image, service.device, service.secure) == (GOOD, "cpu", True)
    assert target.get("digits") == service
    assert target.list() == (service,)
    assert ours(cluster) == {"Service", "Secret", "NetworkPolicy", "PodDisruptionBudget", "Deployment", "Pod"}
    target.delete("digits")
    assert ours(cluster) == set()
    assert target.list() == ()
    for call in (target.get, target.delete, target.keys, target.logs):
        with pytest.raises(NotFoundError) as caught:
            call("digits")
        assert str(caught.value) == "no service 'digits' on lab; see fieldwave services list"


def test_clients_trust_what_the_secret_says(cluster: Cluster, target: KubernetesTarget) -> None:
    assert target.deploy(GOOD, "digits").certificate == ""  # the Secret is not there yet
    data = {"tls.crt": base64.b64encode(b"leaf").decode()}
    cluster.put("Secret", {"metadata": {"name": "digits-tls"}, "data": data})
    assert target.get("digits").certificate == "leaf"
    data["ca.crt"] = base64.b64encode(b"authority").decode()
    assert target.get("digits").certificate == "authority"


def test_what_others_deployed_is_not_seen_and_not_touched(cluster: Cluster, target: KubernetesTarget) -> None:
    theirs = {"metadata": {"name": "digits", "labels": {"app.kubernetes.io/instance": "digits"}}, "spec": {}}
    cluster.put("Service", theirs)
    with pytest.raises(ConflictError) as caught:
        target.deploy(GOOD, "digits")
    assert str(caught.value) == (
        "lab has a Service 'digits' in namespace vision; choose another name, or delete the service: "
        "fieldwave services delete digits"
    )
    with pytest.raises(NotFoundError):
        target.delete("digits")
    assert ours(cluster) == {"Service"}


def test_of_several_at_the_same_time_one_gets_the_name(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    outcomes: list[str] = []

    def deploy() -> None:
        try:
            target_of(kubeconfig, tmp_path).deploy(GOOD, "digits", secure=False)
            outcomes.append("deployed")
        except ConflictError:
            outcomes.append("taken")

    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["deployed", *["taken"] * 3]
    assert len(cluster.find("Deployment")) == 1


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("crash", "it keeps dying: exit code 1: error: the package is damaged"),
        ("missing", "its image cannot be pulled: Back-off pulling image: not found"),
        ("silent", "0 of 1 replicas answer; one does not say that it is ready"),
    ],
)
def test_what_does_not_start_is_removed(
    cluster: Cluster, target: KubernetesTarget, fate: str, reason: str
) -> None:
    cluster.fate["registry.example/broken"] = fate
    with pytest.raises(ServiceError) as caught:
        target.deploy(BROKEN, "digits")
    assert str(caught.value) == f"service 'digits' did not start and was removed: {reason}"
    assert ours(cluster) <= {"Pod"}


def test_what_takes_too_long_is_removed(cluster: Cluster, target: KubernetesTarget) -> None:
    cluster.fate["registry.example/broken"] = "slow"
    with pytest.raises(ServiceError) as caught:
        target.deploy(BROKEN, "digits", timeout=0.1)
    assert str(caught.value) == (
        "service 'digits' did not start and was removed: not ready within 0.1 s; 0 of 1 replicas answer"
    )


def test_without_waiting_it_is_on_its_way_and_can_be_waited_for(target: KubernetesTarget) -> None:
    service = target.deploy(GOOD, "digits", wait=False)
    assert service.state == "Transitioning"
    assert service.wait(timeout=5).state == "Healthy"


def test_an_update_replaces_the_pods_and_keeps_the_keys(cluster: Cluster, target: KubernetesTarget) -> None:
    before = target.deploy(GOOD, "digits", replicas=2)
    keys = target.keys("digits")
    pods = {pod["metadata"]["name"] for pod in cluster.find("Pod")}
    service = target.update("digits", BETTER)
    assert (service.state, service.image, service.created) == ("Healthy", BETTER, before.created)
    assert image_of(cluster) == BETTER
    assert {pod["metadata"]["name"] for pod in cluster.find("Pod")}.isdisjoint(pods)
    assert target.keys("digits") == keys


def test_an_update_that_fails_is_taken_back(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits", replicas=2)
    with pytest.raises(ServiceError) as caught:
        target.update("digits", BROKEN)
    assert str(caught.value) == (
        "service 'digits' did not change, and goes on as it was: 1 of 2 replicas answer; "
        "it keeps dying: exit code 1: error: the package is damaged"
    )
    assert image_of(cluster) == GOOD
    assert target.get("digits").wait(timeout=5).image == GOOD


def test_what_kubectl_has_undone_stays_undone(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    before = cluster.find("Deployment", "digits")["spec"]["template"]
    target.update("digits", BETTER)
    cluster.merge("Deployment", "digits", {"spec": {"template": before}}, "vision")  # kubectl rollout undo
    assert target.get("digits").image == GOOD
    target.scale("digits", 2)
    assert image_of(cluster) == GOOD


def test_an_update_wants_something_to_change(kubeconfig: str, tmp_path: Path) -> None:
    target = target_of(kubeconfig, tmp_path)
    with pytest.raises(InputError) as caught:
        target.update("digits")
    assert str(caught.value) == "nothing to change about service 'digits'; name a source, a device or a setting"


def test_settings_are_kept_and_changed(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    target_of(kubeconfig, tmp_path, tls_secret="digits-tls", cpus="4", most_replicas=3).deploy(GOOD, "digits")
    assert cluster.find("HorizontalPodAutoscaler", "digits")["spec"]["maxReplicas"] == 3
    with pytest.raises(InputError) as caught:
        target_of(kubeconfig, tmp_path).scale("digits", 2)
    assert str(caught.value) == (
        "service 'digits' is scaled by the cluster, up to 3; to do it yourself, "
        "update it with most_replicas=0 first"
    )
    target_of(kubeconfig, tmp_path, most_replicas=0, memory="1Gi").update("digits")
    assert cluster.find("HorizontalPodAutoscaler", "digits") is None
    container = cluster.find("Deployment", "digits")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "1Gi"}
    with pytest.raises(InputError, match=r"^a cluster has no setting 'colour'; there are: clients, "):
        target_of(kubeconfig, tmp_path, colour="red")


def test_an_update_leaves_the_number_to_the_autoscaler(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    target = target_of(kubeconfig, tmp_path, tls_secret="t", most_replicas=5)
    assert target.deploy(GOOD, "digits", replicas=2).replicas.ready == 2
    cluster.merge("Deployment", "digits", {"spec": {"replicas": 4}}, "vision")
    assert target.update("digits", BETTER).replicas.ready == 4
    # The same where it comes later: what has been two does not become one on the way.
    target_of(kubeconfig, tmp_path, tls_secret="t").deploy(GOOD, "other", replicas=2)
    assert target.update("other").replicas.ready == 2
    assert cluster.find("HorizontalPodAutoscaler", "other")["spec"]["minReplicas"] == 2


def test_scaling_changes_the_pods_and_the_strategy(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits", device="board", replicas=1)
    strategy = cluster.find("Deployment", "digits")["spec"]["strategy"]
    assert strategy == {"type": "Recreate"}
    (pod,) = cluster.find("Pod")
    assert target.scale("digits", 2).replicas.ready == 2
    assert pod in cluster.find("Pod")  # it was not started anew
    assert cluster.find("Deployment", "digits")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert target.scale("digits", 1).replicas.ready == 1
    assert cluster.find("Deployment", "digits")["spec"]["strategy"] == {"type": "Recreate"}


def test_an_update_keeps_what_kubectl_scale_has_set(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    cluster.merge("Deployment", "digits", {"spec": {"replicas": 3}}, "vision")
    assert target.update("digits", BETTER).replicas.wanted == 3


def test_npus_that_are_held_are_told_in_words(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "alpha", device="board")
    target.deploy(GOOD, "beta", device="board")
    with pytest.raises(DeviceBusyError) as caught:
        target.deploy(GOOD, "digits", device="board")
    assert str(caught.value) == (
        "service 'digits' needs 1 NPU: 2 NPUs, both held by services alpha and beta; "
        "scale or delete a service, or wait for it: --when-busy wait"
    )
    waiting = target.deploy(GOOD, "digits", device="board", when_busy="wait", wait=False)
    while waiting.state == "Transitioning":
        waiting = target.get("digits")
    assert waiting.state == "Unschedulable"
    assert waiting.reason == (
        "2 NPUs, both held by services alpha and beta (no node can take it: "
        "0/1 nodes are available: 1 Insufficient fieldwave.dev/npu.)"
    )
    target.delete("alpha")
    assert waiting.wait(timeout=5).state == "Healthy"


def test_more_pods_than_there_are_npus_for_are_told_of(
    cluster: Cluster, kubeconfig: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = target_of(kubeconfig, tmp_path, tls_secret="t", most_replicas=3)
    with caplog.at_level(logging.WARNING):
        target.deploy(GOOD, "digits", device="board")
    assert caplog.messages == ["most_replicas is 3, and the cluster has NPUs for 2: more pods than that wait"]


def test_the_service_that_has_held_an_npu_longest_is_stopped_for_another(
    cluster: Cluster, target: KubernetesTarget, caplog: pytest.LogCaptureFixture
) -> None:
    target.deploy(GOOD, "alpha", device="board")
    for pod in cluster.find("Pod"):
        pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    target.deploy(GOOD, "beta", device="board")
    with caplog.at_level(logging.WARNING):
        service = target.deploy(GOOD, "digits", device="board", when_busy="replace")
    assert caplog.messages == ["service alpha is stopped: digits takes its NPU"]
    assert service.state == "Healthy"
    assert [one.state for one in target.list()] == ["Stopped", "Healthy", "Healthy"]


def test_keys_change_one_at_a_time(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    before = target.keys("digits")
    after = target.regenerate_key("digits", "primary")
    assert after.secondary == before.secondary
    assert after.primary != before.primary
    assert target.keys("digits") == after
    secret = cluster.find("Secret", "digits-keys")["data"]
    assert base64.b64decode(secret["primary"]).decode() == after.primary
    # The kubelet looks at the Secrets of a pod that changes, at once.
    (pod,) = cluster.find("Pod")
    assert "fieldwave.dev/keys-changed" in pod["metadata"]["annotations"]


def test_keys_changed_by_two_at_the_same_time_are_both_changed(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    before = target.keys("digits")
    threads = [
        threading.Thread(target=target.regenerate_key, args=("digits", which))
        for which in ("primary", "secondary")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = target.keys("digits")
    assert after.primary != before.primary
    assert after.secondary != before.secondary


def test_a_service_without_keys_says_so(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    target = target_of(kubeconfig, tmp_path)
    assert not target.deploy(GOOD, "digits", secure=False).secure
    assert "Secret" not in ours(cluster)
    with pytest.raises(InputError) as caught:
        target.keys("digits")
    assert str(caught.value) == "service 'digits' has no keys, whoever reaches it may call it"


def test_keys_are_not_sent_in_the_open(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        target_of(kubeconfig, tmp_path).deploy(GOOD, "digits")
    assert str(caught.value) == (
        "service 'digits' would take keys in the open: name the Secret of its certificate (tls_secret=NAME), "
        "let a Gateway end TLS (gateway=NAMESPACE/NAME), or say that it may be open to all"
    )
    assert ours(cluster) == set()


def test_a_gateway_s_address_is_the_service_s(cluster: Cluster, kubeconfig: str, tmp_path: Path) -> None:
    listeners = [{"name": "a", "port": 80, "protocol": "HTTP"}, {"name": "b", "port": 443, "protocol": "HTTPS"}]
    gateway = {"metadata": {"name": "public"}, "spec": {"listeners": listeners}}
    cluster.put("Gateway", {**gateway, "status": {"addresses": [{"value": "192.0.2.7"}]}}, "edge")
    service = target_of(kubeconfig, tmp_path, gateway="edge/public").deploy(GOOD, "digits")
    assert service.addresses == ("192.0.2.7:443",)
    assert cluster.find("GRPCRoute", "digits")["spec"]["parentRefs"] == [{"name": "public", "namespace": "edge"}]


def test_logs_of_several_pods_are_one_by_time(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits", replicas=2)
    first, second = sorted(pod["metadata"]["name"] for pod in cluster.find("Pod"))
    a, b = first.rpartition("-")[2], second.rpartition("-")[2]
    cluster.log[first] = ["2026-01-01T00:00:00.5Z one", "2026-01-01T00:00:02Z four"]
    cluster.log[second] = ["2026-01-01T00:00:00.51Z two", "2026-01-01T00:00:01Z three"]
    assert list(target.logs("digits")) == [f"{a}: one", f"{b}: two", f"{b}: three", f"{a}: four"]
    assert list(target.logs("digits", lines=2)) == [f"{b}: three", f"{a}: four"]
    assert list(target.logs("digits", lines=0)) == []
    target.scale("digits", 1)
    assert list(target.logs("digits", lines=1)) == ["four"]


def test_logs_are_followed_until_the_service_is_deleted(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    (pod,) = cluster.find("Pod")
    mark = pod["metadata"]["name"].rpartition("-")[2]
    lines = cluster.log.setdefault(pod["metadata"]["name"], [])
    lines += ["2026-01-01T00:00:00Z old", "2026-01-01T00:00:01Z ready"]
    found = target.logs("digits", lines=1, follow=True)
    assert next(found) == f"{mark}: ready"
    lines.append("2026-01-01T00:00:02Z called")
    assert next(found) == f"{mark}: called"
    target.delete("digits")
    assert list(found) == []


def test_a_pod_that_does_not_go_is_ended(cluster: Cluster, target: KubernetesTarget) -> None:
    target.deploy(GOOD, "digits")
    cluster.stuck = True
    target.delete("digits", timeout=0.05)
    ends = [query for method, path, query in cluster.requests if method == "DELETE" and "/pods/" in path]
    assert ends
    assert cluster.find("Pod") == []


def test_an_old_cluster_gets_what_it_knows(
    cluster: Cluster, target: KubernetesTarget, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.version = "1.20"
    cluster.groups = ("v1", "apps/v1", "networking.k8s.io/v1")
    with caplog.at_level(logging.WARNING):
        target.deploy(GOOD, "digits")
    assert caplog.messages == [
        "the cluster has no policy/v1: a drain may take all replicas away at the same time",
        "the cluster has no probes by gRPC: a pod counts as ready when its port is open",
    ]
    assert ours(cluster) == {"Service", "Secret", "NetworkPolicy", "Deployment", "Pod"}
    target.delete("digits")
    assert ours(cluster) == set()


def test_a_package_becomes_an_image_in_a_store_that_the_cluster_can_pull_from(
    cluster: Cluster, kubeconfig: str, tmp_path: Path, wheelhouse: Path
) -> None:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    source = package(tmp_path / "four.zip")
    with oci_registry.running(tmp_path) as address:
        (tmp_path / "fieldwave.toml").write_text(f'store = "oci://{address}/team"\n')
        target = target_of(kubeconfig, tmp_path, tls_secret="t")
        add_base(target.workspace.store, str(base(tmp_path / "base.tar")), "debian")
        images = Images(target.workspace.store)
        images.build(source, "digits", wheels=wheelhouse)  # the parts are in the store: no network is needed below
        service = target.deploy(source, "digits")
        image = images.get("digits:1")
        assert image_of(cluster) == f"{address}/team/images/digits@{image.digest}"
        pods = cluster.find("Deployment", "digits")["spec"]["template"]["spec"]
        assert pods["nodeSelector"]["kubernetes.io/arch"] == "amd64"
        assert (service.image, service.network) == (f"digits:1@{image.digest}", "four")
        assert service.package == image.package
        model = target.workspace.registry.register(package(tmp_path / "other.zip", b"better"), "four")
        updated = target.update("digits", model)
        assert updated.model == f"four:1@{model.digest}"
        assert image_of(cluster) == images.reference(images.get("four:1"))


def test_an_image_is_pushed_to_where_the_cluster_can_pull_it(
    cluster: Cluster, kubeconfig: str, tmp_path: Path, wheelhouse: Path
) -> None:
    if oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    store = Workspace(tmp_path).store
    add_base(store, str(base(tmp_path / "base.tar")), "debian")
    image = Images(store).build(package(tmp_path / "four.zip"), "digits", wheels=wheelhouse)
    with pytest.raises(InputError) as caught:
        target_of(kubeconfig, tmp_path, tls_secret="t").deploy(image, "digits")
    assert str(caught.value) == (
        "the cluster cannot pull image digits:1 from this machine: say which registry it can pull from "
        "(registry=HOST/PREFIX), or keep the workspace's store in one (store in fieldwave.toml)"
    )
    assert ours(cluster) == set()
    with oci_registry.running(tmp_path) as address:
        target_of(kubeconfig, tmp_path, tls_secret="t", registry=f"{address}/edge").deploy(image, "digits")
        assert image_of(cluster) == f"{address}/edge/digits@{image.digest}"
        there = RegistryStore(f"{address}/edge").raw("digits", image.digest)
        assert there.descriptor.digest == image.digest


def test_a_device_that_there_is_not_is_told_before_anything_is_done(
    cluster: Cluster, target: KubernetesTarget
) -> None:
    with pytest.raises(NotFoundError, match=r"^no device 'gpu'; there are: cpu, rtl, rtl:NPU, board:PORT$"):
        target.deploy(GOOD, "digits", device="gpu")
    target.deploy(GOOD, "digits")
    with pytest.raises(NotFoundError, match=r"^no device 'gpu'; "):
        target.update("digits", device="gpu")
    assert target.update("digits", device="board").device == "board"


def test_other_ports_are_for_nodes(target: KubernetesTarget) -> None:
    with pytest.raises(InputError) as caught:
        target.deploy(GOOD, "digits", port=8080)
    assert str(caught.value) == (
        "a service on a cluster listens on port 50051; for port 8080 of its node, set host_port=8080"
    )


def test_a_cluster_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with serving(Cluster(), tmp_path) as path:
        target = target_of(str(path), tmp_path, tls_secret="t")
    with pytest.raises(HostError) as caught:
        target.deploy(GOOD, "digits")
    assert str(caught.value).startswith("cluster lab cannot be reached: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["Secret", "NetworkPolicy", "PodDisruptionBudget", "Deployment"])
def test_what_the_cluster_refuses_is_told_in_its_words_and_nothing_stays(
    cluster: Cluster, target: KubernetesTarget, where: str
) -> None:
    refuse(cluster, where)
    with pytest.raises(HostError) as caught:
        target.deploy(GOOD, "digits")
    assert str(caught.value) == f"cluster lab refused (403 Forbidden): no {where} today"
    assert ours(cluster) == set()


@pytest.mark.parametrize("where", ["Secret", "NetworkPolicy", "PodDisruptionBudget", "Deployment"])
def test_what_a_killed_deployment_leaves_is_named_and_deleted(
    cluster: Cluster, target: KubernetesTarget, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    allow = refuse(cluster, where)
    monkeypatch.setattr(target, "_clear", lambda name: None)  # a process that is killed cleans nothing up
    with pytest.raises(HostError):
        target.deploy(GOOD, "digits")
    assert "Service" in ours(cluster)
    allow()
    with pytest.raises(ConflictError, match="fieldwave services delete digits"):
        target.deploy(GOOD, "digits")
    target.delete("digits")
    assert ours(cluster) == set()
    assert target.deploy(GOOD, "digits").state == "Healthy"


def test_what_cannot_be_seen_any_more_is_not_removed(cluster: Cluster, target: KubernetesTarget) -> None:
    target._patience = Patience(poll=0.0, silence=0.0)
    original = cluster.step

    def fail() -> None:
        if cluster.find("Deployment"):
            raise Refused(503, "ServiceUnavailable", "etcd has no leader")
        original()

    cluster.step = fail  # type: ignore[method-assign]
    with pytest.raises(HostError, match="etcd has no leader"):
        target.deploy(GOOD, "digits")
    cluster.step = original  # type: ignore[method-assign]
    assert target.get("digits").wait(timeout=5).state == "Healthy"


def refuse(cluster: Cluster, where: str) -> Callable[[], None]:
    """Have the server refuse to apply a kind, until what is returned is called."""
    original = cluster.apply

    def apply(kind: str, one: dict[str, Any], namespace: str) -> dict[str, Any]:
        if kind == where:
            raise Refused(403, "Forbidden", f"no {where} today")
        return original(kind, one, namespace)

    cluster.apply = apply  # type: ignore[method-assign]
    return lambda: setattr(cluster, "apply", original)
