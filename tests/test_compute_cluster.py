from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldwave.compute import Compute, Computes, ComputeStatus, Held, Npus
from fieldwave.compute.cluster import connect, contexts
from fieldwave.errors import ConflictError, HostError, InputError
from fieldwave.workspace import Workspace
from tests import certificates
from tests.cluster import Cluster, serving, write_kubeconfig
from tests.kubernetes_schemas import errors

NPU = "fieldwave.dev/npu"
SINCE = "2026-11-23T08:00:00Z"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with two nodes of two NPUs each, one without, one that is cordoned, and a namespace."""
    cluster = Cluster()
    del cluster.objects["Node", "", "node-1"]
    with serving(cluster, tmp_path):
        cluster.put("Namespace", {"metadata": {"name": "vision"}})
        cluster.put("Node", node("n1", npus="2", accelerator="u250"))
        cluster.put("Node", node("n2", npus="2", accelerator="u250"))
        cluster.put("Node", node("n3"))
        cluster.put("Node", node("n4", npus="8", cordoned=True))
        yield cluster


@pytest.fixture
def computes(tmp_path: Path) -> Computes:
    return Computes(Workspace(tmp_path))


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path) -> Compute:
    path = write_kubeconfig(cluster, tmp_path / "config", "lab")
    return Compute("lab", "kubernetes", context="lab", kubeconfig=str(path), namespace="vision")


def node(name: str, *, npus: str = "", cordoned: bool = False, **labels: str) -> dict[str, Any]:
    resources = {"cpu": "16", "memory": "65536Mi", **({NPU: npus} if npus else {})}
    return {
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/region": "north", **labels}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": dict.fromkeys(
                (
                    "bootID",
                    "containerRuntimeVersion",
                    "kernelVersion",
                    "kubeProxyVersion",
                    "kubeletVersion",
                    "machineID",
                    "operatingSystem",
                    "osImage",
                    "systemUUID",
                ),
                "x",
            )
            | {"architecture": "amd64"},
        },
    }


def pod(
    name: str, node: str, *, npus: int = 1, phase: str = "Running", namespace: str = "vision", **more: Any
) -> Any:
    container = {"name": "server", "resources": {"limits": {NPU: str(npus)}} if npus else {}}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": more.pop("labels", {}),
            "creationTimestamp": "2026-11-23T08:00:00Z",
        },
        "spec": {"nodeName": node, "containers": [container], **more},
        "status": {"phase": phase},
    }


def quota(name: str, hard: str, used: str) -> dict[str, Any]:
    key = f"requests.{NPU}"
    return {
        "metadata": {"name": name, "namespace": "vision"},
        "spec": {"hard": {key: hard}},
        "status": {"hard": {key: hard}, "used": {key: used}},
    }


def test_npus_of_a_cluster_and_who_holds_them(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    computes.attach(lab)
    instance = {"app.kubernetes.io/instance": "digits"}
    cluster.put("Pod", pod("digits-0", "n1", labels=instance))
    cluster.put("Pod", pod("other-7", "n2", npus=2, namespace="team-b", labels=instance))
    cluster.put("Pod", pod("done", "n1", phase="Succeeded"))
    cluster.put("Pod", pod("without", "n1", npus=0))
    cluster.put("Pod", pod("elsewhere", "n4"))
    assert computes.status("lab") == ComputeStatus(
        "Succeeded",
        (),
        "amd64, 16 cores, 65536Mi",
        3,
        "north",
        Npus(
            None,
            0,
            4,
            3,
            (
                Held("n1", "digits", 1, "2026-11-23T08:00:00Z"),
                Held("n2", "team-b/other-7", 2, "2026-11-23T08:00:00Z"),
            ),
        ),
    )
    npus = computes.status("lab").npus
    assert npus is not None
    assert npus.free == 1


def test_nodes_are_chosen_by_their_labels(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    chosen = Compute(
        "lab", "kubernetes", kubeconfig=lab.kubeconfig, namespace="vision", node_selector={"accelerator": "u250"}
    )
    computes.attach(chosen)
    assert computes.status("lab").count == 2
    for name in ("n1", "n2"):
        del cluster.objects["Node", "", name]
    assert computes.status("lab").errors == ("no node has the labels accelerator=u250",)
    assert computes.status("lab").state == "Failed"


def test_init_containers_and_sidecars_count_as_the_scheduler_counts_them(
    cluster: Cluster, computes: Computes, lab: Compute
) -> None:
    computes.attach(lab)

    def init(npus: int, **more: str) -> dict[str, Any]:
        return {"name": f"i{npus}{len(more)}", "resources": {"limits": {NPU: str(npus)}}, **more}

    cluster.put("Pod", pod("p", "n1", npus=1, initContainers=[init(1, restartPolicy="Always"), init(3)]))
    npus = computes.status("lab").npus
    assert npus is not None
    assert npus.allocated == 4


def test_the_tightest_quota_is_the_limit(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    computes.attach(lab)
    cluster.put("ResourceQuota", quota("wide", "100", "1"))
    cluster.put("ResourceQuota", quota("tight", "2", "1"))
    npus = computes.status("lab").npus
    assert npus is not None
    assert (npus.limit, npus.used, npus.allocatable, npus.free) == (2, 1, 4, 1)


def test_a_cluster_without_npus_can_run_services_on_the_processor(
    cluster: Cluster, computes: Computes, lab: Compute
) -> None:
    computes.attach(lab)
    for name in ("n1", "n2"):
        cluster.put("Node", node(name))
    status = computes.status("lab")
    assert (status.state, status.count, status.npus) == ("Succeeded", 3, Npus())
    assert status.errors == (
        "no node offers fieldwave.dev/npu: run the device plugin (fieldwave device-plugin manifest); "
        "services on the cpu device need none",
    )


def test_a_user_who_may_see_the_namespace_only(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    computes.attach(lab)
    cluster.forbidden = {"nodes", "namespaces"}
    assert computes.status("lab") == ComputeStatus(
        "Succeeded",
        (
            'this user may not see the namespaces: namespaces is forbidden: User "me" cannot get it',
            'this user may not see the nodes: nodes is forbidden: User "me" cannot get it',
        ),
    )
    cluster.put("ResourceQuota", quota("q", "3", "1"))
    assert computes.status("lab").npus == Npus(3, 1, 3, 1)


def test_a_namespace_or_a_cluster_that_is_not_there(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    computes.attach(lab)
    del cluster.objects["Namespace", "", "vision"]
    status = computes.status("lab")
    assert (status.state, status.errors) == (
        "Failed",
        ("namespace vision is not there; make it: kubectl create namespace vision",),
    )
    path = Path(lab.kubeconfig)
    path.write_text(path.read_text().replace(cluster.url, "http://127.0.0.1:1"))
    assert computes.status("lab") == ComputeStatus(
        "Failed", ("cluster lab cannot be reached: [Errno 111] Connection refused",)
    )


def test_a_kubeconfig_that_cannot_be_used(cluster: Cluster, tmp_path: Path, lab: Compute) -> None:
    assert contexts(lab.kubeconfig) == ("lab",)
    with pytest.raises(InputError) as caught:
        connect(Compute("x1", "kubernetes", context="prod", kubeconfig=lab.kubeconfig))
    assert str(caught.value) == f"{lab.kubeconfig} has no context 'prod' that is complete; its contexts: lab"
    with pytest.raises(InputError) as caught:
        connect(Compute("x1", "kubernetes", kubeconfig=str(tmp_path / "none")))
    assert str(caught.value) == (
        f"there is no kubeconfig file {tmp_path}/none; name one with --kubeconfig, or set KUBECONFIG"
    )
    (tmp_path / "damaged").write_text("clusters: 7")
    with pytest.raises(InputError, match="is no kubeconfig file: "):
        connect(Compute("x1", "kubernetes", kubeconfig=str(tmp_path / "damaged")))


def test_of_several_kubeconfig_files_the_one_with_the_context(
    cluster: Cluster, tmp_path: Path, lab: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_kubeconfig(cluster, tmp_path / "other", "other")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{tmp_path}/other:{tmp_path}/config")
    for context in ("lab", "other"):
        with connect(Compute("x1", "kubernetes", context=context, namespace="vision")) as client:
            assert client.config.context_name == context
    with connect(Compute("x1", "kubernetes")) as client:
        assert client.config.context_name == "other"
    with pytest.raises(InputError, match="has no context 'prod' that is complete"):
        connect(Compute("x1", "kubernetes", context="prod"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/none:{tmp_path}/nor")
    with pytest.raises(
        InputError, match=f"there is no kubeconfig file {tmp_path}/none nor {tmp_path}/nor; name one"
    ):
        connect(Compute("x1", "kubernetes"))


def test_in_a_pod_it_is_the_cluster_of_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "namespace").write_text("vision")
    (tmp_path / "ca.crt").write_bytes(certificates.Authority().certificate)
    monkeypatch.setattr("fieldwave.compute.cluster._SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with connect(Compute("x1", "kubernetes")) as client:
        assert client.config.cluster.server == "https://10.0.0.1:443"
    with pytest.raises(InputError, match="there is no kubeconfig file"):
        connect(Compute("x1", "kubernetes", context="lab"))


def test_create_makes_what_services_need_and_delete_unmakes_it(
    cluster: Cluster, computes: Computes, lab: Compute
) -> None:
    new = Compute("lab", "kubernetes", kubeconfig=lab.kubeconfig, namespace="fw")
    made = computes.create(new, limit=2, image="registry.example/digits@sha256:0")
    assert made.owned
    assert computes.get("lab") == made
    mine = {"app.kubernetes.io/managed-by": "fieldwave", "fieldwave.dev/compute": "lab"}
    namespace = cluster.find("Namespace", "fw")
    assert namespace is not None
    assert namespace["metadata"]["labels"] == mine
    limit = cluster.find("ResourceQuota", "fieldwave-npus", "fw")
    assert limit is not None
    assert limit["spec"] == {"hard": {"requests.fieldwave.dev/npu": "2"}}
    plugin = cluster.find("DaemonSet", "fieldwave-device-plugin", "kube-system")
    assert plugin is not None
    assert plugin["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/digits@sha256:0"
    for made_there in (namespace, limit, plugin):
        described = made_there | {"metadata": made_there["metadata"] | {"creationTimestamp": None}}
        assert [errors(described, version) for version in ("1.27", "1.37")] == [[], []]
    assert all(query["fieldManager"] == "fieldwave" for method, _, query in cluster.requests if method == "PATCH")

    computes.set_limit("lab", 5)
    limit = cluster.find("ResourceQuota", "fieldwave-npus", "fw")
    assert limit is not None
    assert limit["spec"]["hard"] == {"requests.fieldwave.dev/npu": "5"}
    computes.set_limit("lab", None)
    computes.set_limit("lab", None)
    assert cluster.find("ResourceQuota", "fieldwave-npus", "fw") is None

    cluster.put("Pod", pod("stray", "n1", namespace="fw"))
    with pytest.raises(ConflictError) as caught:
        computes.delete("lab")
    assert str(caught.value) == (
        "namespace fw of cluster lab still has 1 pods, stray among them; delete them first"
    )
    del cluster.objects["Pod", "fw", "stray"]
    computes.delete("lab")
    assert (
        cluster.find("Namespace", "fw")
        is cluster.find("DaemonSet", "fieldwave-device-plugin", "kube-system")
        is None
    )
    assert [one.name for one in computes.list()] == ["local"]


def test_what_others_have_made_stays_theirs(cluster: Cluster, computes: Computes, lab: Compute) -> None:
    cluster.put("ResourceQuota", quota("theirs", "9", "0"))
    computes.create(lab, limit=1, image="a@sha256:0")
    second = Compute("second", "kubernetes", kubeconfig=lab.kubeconfig, namespace="other")
    computes.create(second, image="b@sha256:0")
    plugin = cluster.find("DaemonSet", "fieldwave-device-plugin", "kube-system")
    assert plugin is not None
    assert plugin["spec"]["template"]["spec"]["containers"][0]["image"] == "a@sha256:0"
    computes.delete("second")
    assert cluster.find("DaemonSet", "fieldwave-device-plugin", "kube-system") is plugin
    computes.delete("lab")
    assert cluster.find("Namespace", "vision") is not None
    assert cluster.find("ResourceQuota", "theirs", "vision") is not None
    assert cluster.find("ResourceQuota", "fieldwave-npus", "vision") is None


def test_a_refusal_of_the_cluster_leaves_nothing_attached(
    cluster: Cluster, computes: Computes, lab: Compute
) -> None:
    cluster.forbidden = {"namespaces"}
    with pytest.raises(HostError) as caught:
        computes.create(lab)
    assert str(caught.value) == (
        'cluster lab refused (403 Forbidden): namespaces is forbidden: User "me" cannot get it'
    )
    assert [one.name for one in computes.list()] == ["local"]
    with pytest.raises(InputError, match="the limit is -1; it must be 0 or more NPUs"):
        computes.create(Compute("lab", "kubernetes", kubeconfig=lab.kubeconfig), limit=-1)


def test_an_unreachable_cluster_can_be_forgotten(computes: Computes, cluster: Cluster, lab: Compute) -> None:
    computes.create(lab)
    Path(lab.kubeconfig).unlink()
    with pytest.raises(InputError, match="there is no kubeconfig file"):
        computes.delete("lab")
    computes.delete("lab", force=True)
    assert [one.name for one in computes.list()] == ["local"]
