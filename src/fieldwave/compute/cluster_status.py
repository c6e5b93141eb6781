"""A cluster now: its nodes, their NPUs, the pods that hold them, the quota of the namespace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fieldwave.compute.cluster import cluster_errors, connect
from fieldwave.compute.compute import Compute
from fieldwave.compute.status import ComputeStatus, Held, Npus
from fieldwave.errors import FieldwaveError, HostError

__all__ = ["cluster_status"]

_INSTANCE = "app.kubernetes.io/instance"
_REGION = "topology.kubernetes.io/region"
_TYPE = "node.kubernetes.io/instance-type"


def cluster_status(compute: Compute) -> ComputeStatus:
    """The cluster now; what cannot be reached is Failed, and says why."""
    try:
        with connect(compute) as client, cluster_errors(compute):
            return _Look(compute, client).status()
    except FieldwaveError as error:
        return ComputeStatus("Failed", (str(error),), location=compute.location)


@dataclass
class _Look:
    compute: Compute
    client: Any
    errors: list[str] = field(default_factory=list)

    def status(self) -> ComputeStatus:
        from lightkube.resources.core_v1 import Namespace

        namespace = self._optional(lambda: self.client.get(Namespace, self.compute.namespace), "namespaces")
        if namespace == "NotFound":
            self.errors.append(
                f"namespace {self.compute.namespace} is not there; make it: "
                f"kubectl create namespace {self.compute.namespace}"
            )
        nodes = self._nodes()
        ready = [node for node in nodes or () if _is_ready(node)]
        if nodes is not None and not ready:
            self.errors.append(self._no_nodes(nodes))
        failed = namespace == "NotFound" or (nodes is not None and not ready)
        region = next((labels[_REGION] for node in ready if _REGION in (labels := _labels(node))), "")
        return ComputeStatus(
            "Failed" if failed else "Succeeded",
            npus=self._npus(ready, listed=nodes is not None),
            errors=tuple(self.errors),
            size=", ".join(sorted({_size(node) for node in ready})),
            count=len(ready),
            location=self.compute.location or region,
        )

    def _nodes(self) -> list[Any] | None:
        """The nodes that services may run on; None where this user may not see them."""
        from lightkube.resources.core_v1 import Node

        selector = dict(self.compute.node_selector)
        found = self._optional(lambda: list(self.client.list(Node, labels=selector or None)), "nodes")
        return found if isinstance(found, list) else None

    def _no_nodes(self, nodes: list[Any]) -> str:
        if nodes:
            return f"none of its {len(nodes)} nodes is ready to take pods"
        labels = ",".join(f"{key}={value}" for key, value in self.compute.node_selector.items())
        return f"no node has the labels {labels}" if labels else "the cluster has no nodes"

    def _npus(self, nodes: list[Any], *, listed: bool) -> Npus | None:
        limit, used = self._quota()
        if not listed:
            return None if limit is None else Npus(limit, used, allocatable=limit, allocated=used)
        resource = self.compute.resource
        allocatable = {_name(node): _quantity((node.status.allocatable or {}).get(resource)) for node in nodes}
        if nodes and not any(allocatable.values()):
            self.errors.append(
                f"no node offers {resource}: run the device plugin (fieldwave device-plugin manifest); "
                "services on the cpu device need none"
            )
        if not any(allocatable.values()):
            return Npus(limit, used)
        held = self._held(allocatable)
        return Npus(limit, used, sum(allocatable.values()), sum(one.count for one in held), tuple(held))

    def _held(self, nodes: Iterable[str]) -> list[Held]:
        from lightkube.resources.core_v1 import Pod

        pods = self._optional(lambda: list(self.client.list(Pod, namespace="*")), "pods of all namespaces")
        held = []
        for pod in pods if isinstance(pods, list) else ():
            count = _npus_of(pod, self.compute.resource)
            if count and pod.spec.nodeName in nodes and (pod.status.phase not in ("Succeeded", "Failed")):
                held.append(
                    Held(pod.spec.nodeName, self._holder(pod), count, _time(pod.metadata.creationTimestamp))
                )
        return sorted(held, key=lambda one: (one.npu, one.holder))

    def _holder(self, pod: Any) -> str:
        service = (pod.metadata.labels or {}).get(_INSTANCE)
        if service and pod.metadata.namespace == self.compute.namespace:
            return str(service)
        return f"{pod.metadata.namespace}/{pod.metadata.name}"

    def _quota(self) -> tuple[int | None, int]:
        """The tightest limit of the namespace, and what is used of it."""
        from lightkube.resources.core_v1 import ResourceQuota

        found = self._optional(lambda: list(self.client.list(ResourceQuota)), "resourcequotas")
        key, tightest = f"requests.{self.compute.resource}", []
        for quota in found if isinstance(found, list) else ():
            hard = (quota.spec.hard if quota.spec else None) or {}
            used = (quota.status.used if quota.status else None) or {}
            if key in hard:
                tightest.append((_quantity(hard[key]), _quantity(used.get(key))))
        return min(tightest, default=(None, 0))

    def _optional(self, ask: Any, what: str) -> Any:
        """What is asked for, or the reason why there is none; a user need not be allowed to see everything."""
        from lightkube.core.exceptions import ApiError

        try:
            return ask()
        except ApiError as error:
            if error.status.code == 403:
                self.errors.append(f"this user may not see the {what}: {error.status.message}")
                return "Forbidden"
            if error.status.code == 404:
                return "NotFound"
            raise


def _is_ready(node: Any) -> bool:
    if node.spec is not None and node.spec.unschedulable:
        return False
    conditions = (node.status.conditions if node.status else None) or ()
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def _size(node: Any) -> str:
    given = _labels(node).get(_TYPE)
    if given:
        return str(given)
    capacity = Counter(node.status.capacity or {})
    architecture = node.status.nodeInfo.architecture if node.status.nodeInfo else "?"
    return f"{architecture}, {capacity['cpu']} cores, {capacity['memory']}"


def _npus_of(pod: Any, resource: str) -> int:
    """How many a pod holds: its containers together, or an init container before them, if that is more."""
    containers = sum(_of_container(one, resource) for one in pod.spec.containers or ())
    first, sidecars = 0, 0
    for one in pod.spec.initContainers or ():
        count = _of_container(one, resource)
        if one.restartPolicy == "Always":
            sidecars += count
        else:
            first = max(first, sidecars + count)
    return max(containers + sidecars, first)


def _of_container(container: Any, resource: str) -> int:
    limits = (container.resources.limits if container.resources else None) or {}
    return _quantity(limits.get(resource))


def _quantity(text: Any) -> int:
    """Extended resources are whole numbers; ``k`` is how Kubernetes shortens a thousand."""
    value = str(text or 0)
    try:
        return int(value[:-1]) * 1000 if value.endswith("k") else int(value)
    except ValueError:
        raise HostError(f"{value!r} is no number of devices") from None


def _labels(node: Any) -> dict[str, str]:
    return node.metadata.labels or {}


def _name(node: Any) -> str:
    return str(node.metadata.name)


def _time(value: Any) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if value is not None else ""
