"""The controllers and the scheduler: from what objects say to the pods that there are."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from tests.cluster.autoscaler import autoscale
from tests.cluster.kubelet import is_ready
from tests.cluster.state import NPU, Cluster, Object, age

__all__ = ["step"]


def step(cluster: Cluster) -> None:
    """All of them do a little, each a step behind the one before it."""
    for pod in cluster.all("Pod"):
        # Those that nobody here has made are left alone.
        if "ownerReferences" in pod["metadata"] and _is_bound(cluster, pod):
            cluster.kubelet.sync(pod)
    for deployment in cluster.all("Deployment"):
        _roll_out(cluster, deployment)
    for scaler in cluster.all("HorizontalPodAutoscaler"):
        autoscale(cluster, scaler)
    for service in cluster.all("Service"):
        _list_endpoints(cluster, service)
    for namespace in cluster.all("Namespace"):
        if "deletionTimestamp" in namespace["metadata"]:
            cluster.delete("Namespace", namespace["metadata"]["name"], "")
    for controller in cluster.controllers:
        controller(cluster)


def _is_bound(cluster: Cluster, pod: Object) -> bool:
    """The scheduler: whether the pod is on a node, as far as it can be; one that goes needs none any more."""
    if "nodeName" in pod["spec"]:
        return True
    name = pod["metadata"]["name"]
    if "deletionTimestamp" in pod["metadata"]:
        cluster.delete("Pod", name, pod["metadata"]["namespace"], "0")
        return False
    reasons = [reason for node in cluster.all("Node") if (reason := _why_not(cluster, pod, node))]
    if len(reasons) < len(cluster.all("Node")):
        pod["spec"]["nodeName"] = "node-1"
        return True
    message = f"0/{len(reasons)} nodes are available: {', '.join(reasons)}."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod["status"] = {"phase": "Pending", "conditions": [condition]}
    return False


def _why_not(cluster: Cluster, pod: Object, node: Object) -> str:
    wanted = pod["spec"].get("nodeSelector", {})
    if not wanted.items() <= node["metadata"].get("labels", {}).items():
        return "1 node(s) didn't match Pod's node affinity/selector"
    held = sum(_npus(one) for one in cluster.all("Pod") if "nodeName" in one["spec"])
    if _npus(pod) and held + _npus(pod) > int(node["status"]["allocatable"].get(NPU, 0)):
        return f"1 Insufficient {NPU}"
    return ""


def _npus(pod: Object) -> int:
    return sum(int(one.get("resources", {}).get("limits", {}).get(NPU, 0)) for one in pod["spec"]["containers"])


def _roll_out(cluster: Cluster, deployment: Object) -> None:
    """One step of the Deployment's strategy (kubernetes.io, "Deployments": rolling update, recreate)."""
    spec, meta = deployment["spec"], deployment["metadata"]
    template = json.dumps(spec["template"], sort_keys=True).encode()
    mark = hashlib.sha256(template).hexdigest()[:5]
    wanted = spec.setdefault("replicas", 1)
    pods = cluster.pods(deployment)
    alive = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    new = [pod for pod in alive if f"-{mark}-" in pod["metadata"]["name"]]
    old = [pod for pod in alive if pod not in new]
    if spec.get("strategy", {}).get("type") == "Recreate":
        going = old
        others = any(f"-{mark}-" not in pod["metadata"]["name"] for pod in pods)
        missing = 0 if others else wanted - len(new)
    else:
        rolling = spec.get("strategy", {}).get("rollingUpdate", {})
        surge, unavailable = int(rolling.get("maxSurge", 1)), int(rolling.get("maxUnavailable", 0))
        going = _expendable(cluster, deployment, new, old, wanted - unavailable)
        missing = min(wanted - len(new), wanted + surge - len(alive))
    # Who does not answer goes first, then who came last.
    surplus = sorted(sorted(new, key=_number, reverse=True), key=is_ready)[: max(len(new) - wanted, 0)]
    surplus = [] if old else surplus
    for pod in (*going, *surplus):
        cluster.delete("Pod", pod["metadata"]["name"], meta["namespace"])
    for _ in range(missing):
        _make_pod(cluster, deployment, f"{meta['name']}-{mark}-p{cluster.unique()}")
    deployment["status"] = {
        "observedGeneration": meta["generation"],
        "replicas": len(alive) - len(going) - len(surplus) + max(missing, 0),
        "updatedReplicas": len(new) - len(surplus) + max(missing, 0),
        "readyReplicas": sum(is_ready(pod) for pod in alive if pod not in going and pod not in surplus),
        "availableReplicas": sum(
            _is_available(cluster, deployment, pod) for pod in alive if pod not in going and pod not in surplus
        ),
    }


def _number(pod: Object) -> int:
    return int(pod["metadata"]["name"].rpartition("-p")[2])


def _expendable(
    cluster: Cluster, deployment: Object, new: list[Object], old: list[Object], needed: int
) -> list[Object]:
    """The old pods that may go now: first those that do not serve, then as many as leave enough that do."""
    serving = [pod for pod in (*new, *old) if _is_available(cluster, deployment, pod)]
    silent = len([pod for pod in new if pod not in serving])
    at_most = len(new) + len(old) - needed - silent
    if at_most <= 0:
        return []
    broken = [pod for pod in old if pod not in serving][:at_most]
    spare = min(at_most - len(broken), len(serving) - needed)
    return broken + [pod for pod in old if pod in serving][: max(spare, 0)]


def _is_available(cluster: Cluster, deployment: Object, pod: Object) -> bool:
    """Ready for as long as the Deployment wants it; an imagined pod has always been ready."""
    if not is_ready(pod):
        return False
    since = next(one.get("lastTransitionTime") for one in pod["status"]["conditions"] if one["type"] == "Ready")
    return since is None or age(since) >= deployment["spec"].get("minReadySeconds", 0)


def _make_pod(cluster: Cluster, deployment: Object, name: str) -> None:
    meta, template = deployment["metadata"], copy.deepcopy(deployment["spec"]["template"])
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name.rpartition("-")[0], "uid": meta["uid"]}
    described = {**template["metadata"], "name": name, "ownerReferences": [{**owner, "controller": True}]}
    one: dict[str, Any] = {"metadata": described, "spec": template["spec"], "status": {"phase": "Pending"}}
    cluster.put("Pod", one, meta["namespace"])


def _list_endpoints(cluster: Cluster, service: Object) -> None:
    """What the Service's name leads to; a pod that goes is no endpoint any more."""
    if "selector" not in service.get("spec", {}):
        return
    endpoints = [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {
                "ready": is_ready(pod) and "deletionTimestamp" not in pod["metadata"],
                "serving": is_ready(pod),
                "terminating": "deletionTimestamp" in pod["metadata"],
            },
            "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
        }
        for pod in cluster.pods(service)
        if "podIP" in pod.get("status", {})
    ]
    meta = service["metadata"]
    name, labels = f"{meta['name']}-addresses", {"kubernetes.io/service-name": meta["name"]}
    there = cluster.find("EndpointSlice", name, meta["namespace"])
    if there is None and not endpoints:
        return
    if there is None or there["endpoints"] != endpoints:
        ports = [{"name": one["name"], "port": one["port"]} for one in service["spec"]["ports"]]
        described = {"metadata": {"name": name, "labels": labels}, "addressType": "IPv4"}
        cluster.put("EndpointSlice", {**described, "endpoints": endpoints, "ports": ports}, meta["namespace"])
