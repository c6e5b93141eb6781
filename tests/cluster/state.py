"""What a cluster's API server knows, and how requests change it."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests import kubernetes_schemas
from tests.cluster.fates import Fates
from tests.cluster.kubelet import Kubelet

__all__ = ["KINDS", "NPU", "Cluster", "Object", "Refused", "age", "now"]

KINDS = {
    "v1": {"Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "ResourceQuota": "resourcequotas",
           "Secret": "secrets", "Service": "services"},
    "apps/v1": {"DaemonSet": "daemonsets", "Deployment": "deployments"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "discovery.k8s.io/v1": {"EndpointSlice": "endpointslices"},
    "gateway.networking.k8s.io/v1": {"GRPCRoute": "grpcroutes", "Gateway": "gateways"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}  # fmt: skip
WITHOUT_NAMESPACE = ("Namespace", "Node")
NPU = "fieldwave.dev/npu"
Object = dict[str, Any]


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
        self.status |= {"code": code, "reason": reason, "message": message}  # type: ignore[dict-item]


class Cluster:
    """What the server knows.

    Attributes:
        version: major and minor, as /version has them.
        groups: the API versions that it serves.
        npus: how many its one node has; None for a node without.
        kubelet: what becomes of its pods; that of a cluster without containers if none is given.
        fate, log: the imagined kubelet's: what becomes of an image's pods, and what each pod has written.
        requests: method, path and query of every request.
        authorizations: what clients have shown.
        forbidden: what this user may not see: plurals of kinds, or such as ``pods/log``.
        stuck: pods that do not go when they are told.
        fault: from a request's method and path to what goes wrong with it: "" for nothing; "refused", "cut" or
            "lost" for an answer that says 503, a connection that ends before the request is done, or after it.
        url: where it listens, once it is served.
        lock: held while an object is read or changed.
    """

    def __init__(
        self,
        version: str = "1.30",
        groups: tuple[str, ...] = tuple(KINDS),
        npus: int | None = None,
        kubelet: Kubelet | None = None,
    ) -> None:
        self.version = version
        self.groups = groups
        self.npus = npus
        self.fate: dict[str, str] = {}
        self.log: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.authorizations: set[str] = set()
        self.forbidden: set[str] = set()
        self.stuck = False
        self.fault: Callable[[str, str], str] = lambda method, path: ""
        self.url = ""
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.lock = threading.RLock()
        self.kubelet = kubelet or Fates(self)
        self.controllers: list[Callable[[Cluster], None]] = []
        self._applied: dict[tuple[str, str, str], Object] = {}
        self._count = 0
        for name in ("default", "kube-system", "vision"):
            self.put("Namespace", {"metadata": {"name": name}})
        self.put("Node", self._node())

    def find(self, kind: str, name: str = "", namespace: str = "vision") -> Any:
        """An object, or all of a kind if no name is given."""
        namespace = "" if kind in WITHOUT_NAMESPACE else namespace
        if name:
            return self.objects.get((kind, namespace, name))
        return [
            one for (a_kind, space, _), one in sorted(self.objects.items()) if (a_kind, space) == (kind, namespace)
        ]

    def all(self, kind: str) -> list[Object]:
        """Those of all namespaces."""
        return [one for key, one in sorted(self.objects.items()) if key[0] == kind]

    def put(self, kind: str, one: Object, namespace: str = "") -> Object:
        """Store an object as the server does, with what it adds."""
        self._count += 1
        meta = one.setdefault("metadata", {})
        namespace = "" if kind in WITHOUT_NAMESPACE else namespace or meta.get("namespace", "vision")
        key = (kind, namespace, meta["name"])
        old = self.objects.get(key)
        spec = json.dumps(one.get("spec"), sort_keys=True)
        changed = old is None or json.dumps(old.get("spec"), sort_keys=True) != spec
        meta["resourceVersion"] = str(self._count)
        meta["uid"] = old["metadata"]["uid"] if old else f"uid-{self._count}"
        meta["generation"] = (old["metadata"]["generation"] if old else 0) + changed
        meta["creationTimestamp"] = (old["metadata"] if old else meta).get("creationTimestamp") or now()
        if namespace:
            meta["namespace"] = namespace
        one.setdefault("apiVersion", api_of(kind))
        one["kind"] = kind
        self.objects[key] = one
        return one

    def unique(self) -> int:
        """A number that nothing else has."""
        self._count += 1
        return self._count

    # What clients ask for.

    def create(self, kind: str, one: Object, namespace: str) -> Object:
        if (kind, namespace, one["metadata"]["name"]) in self.objects:
            raise Refused(409, "AlreadyExists", f'{kind} "{one["metadata"]["name"]}" already exists')
        one |= {"apiVersion": api_of(kind), "kind": kind}
        self.check(one, namespace)
        return self.put(kind, one, namespace)

    def apply(self, kind: str, one: Object, namespace: str) -> Object:
        """Server-side apply by one manager, who takes fields from others by force."""
        self.check(one, namespace)
        key = (kind, namespace, one["metadata"]["name"])
        live = copy.deepcopy(self.objects.get(key, {}))
        _remove(live, self._applied.get(key, {}), one)
        _merge(live, copy.deepcopy(one))
        strategy = live.get("spec", {}).get("strategy", {})
        if strategy.get("type") == "Recreate" and "rollingUpdate" in strategy:
            raise Refused(
                422, "Invalid", "spec.strategy.rollingUpdate: Forbidden: may not be specified for Recreate"
            )
        self._applied[key] = copy.deepcopy(one)
        return self.put(kind, live, namespace)

    def merge(self, kind: str, name: str, changes: Object, namespace: str) -> Object:
        """RFC 7386."""
        live = copy.deepcopy(self.objects[(kind, namespace, name)])
        wanted = changes.get("metadata", {}).pop("resourceVersion", None)
        if wanted not in (None, live["metadata"]["resourceVersion"]):
            raise Refused(
                409, "Conflict", f'Operation cannot be fulfilled on "{name}": the object has been modified'
            )
        _merge(live, changes)
        return self.put(kind, live, namespace)

    def delete(self, kind: str, name: str, namespace: str, grace: str | None = None) -> None:
        """Pods are told to go, and namespaces wait for theirs; the rest is gone at once."""
        one = self.objects[(kind, namespace, name)]
        if kind == "Pod" and grace is None:
            one["metadata"].setdefault("deletionTimestamp", now())
            return
        if kind == "Namespace":
            one["metadata"].setdefault("deletionTimestamp", now())
            one["status"] = {"phase": "Terminating"}
            for a_kind, space, each in list(self.objects):
                if space == name:
                    self.delete(a_kind, each, space)
            if any(space == name for _, space, _ in self.objects):
                return
        del self.objects[(kind, namespace, name)]
        self._applied.pop((kind, namespace, name), None)
        if kind == "Deployment":
            for pod in self.pods(one):
                self.delete("Pod", pod["metadata"]["name"], namespace)
        if kind == "Service":
            self.objects.pop(("EndpointSlice", namespace, f"{name}-addresses"), None)

    def step(self) -> None:
        """The controllers, the scheduler and the kubelet do a little."""
        from tests.cluster.controllers import step

        step(self)

    def check(self, one: Object, namespace: str = "") -> None:
        """Raises Refused for what a server would not take."""
        if namespace and ("Namespace", "", namespace) not in self.objects:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        version = self.version if self.version in kubernetes_schemas.VERSIONS else kubernetes_schemas.VERSIONS[0]
        errors = kubernetes_schemas.errors(one, version)
        if errors:
            raise Refused(422, "Invalid", "; ".join(errors))

    def pods(self, owner: Object) -> list[Object]:
        """The pods that a Deployment's or a Service's selector picks."""
        labels = owner["spec"]["selector"]
        labels = labels.get("matchLabels", labels)
        pods = self.find("Pod", namespace=owner["metadata"]["namespace"])
        return [pod for pod in pods if labels.items() <= pod["metadata"].get("labels", {}).items()]

    def _node(self) -> Object:
        amounts = {"cpu": "8", "memory": "16Gi", **({NPU: str(self.npus)} if self.npus is not None else {})}
        status = {"allocatable": amounts, "capacity": amounts, "conditions": [{"type": "Ready", "status": "True"}]}
        labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": "node-1"}
        return {"metadata": {"name": "node-1", "labels": labels}, "spec": {}, "status": status}


def api_of(kind: str) -> str:
    """The API version that a kind belongs to."""
    return next(api for api, kinds in KINDS.items() if kind in kinds)


def now() -> str:
    """As objects have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(moment: str) -> float:
    """Seconds since then."""
    then = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).total_seconds()


def _merge(target: Object, changes: Object) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def _remove(target: Object, before: Object, now: Object) -> None:
    for key, value in before.items():
        if key not in now:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _remove(target[key], value, now[key])
