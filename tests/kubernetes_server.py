"""A stand-in for a Kubernetes API server: HTTP on loopback, objects in memory, checked by the strict schemas.

Its controllers, scheduler and kubelet are a few lines: they take one step whenever Deployments or pods are read,
and what becomes of a pod depends on its image (`Cluster.fate`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import kubernetes_schemas

KINDS = {
    "v1": {"Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "ResourceQuota": "resourcequotas",
           "Secret": "secrets", "Service": "services"},
    "apps/v1": {"Deployment": "deployments"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "gateway.networking.k8s.io/v1": {"GRPCRoute": "grpcroutes", "Gateway": "gateways"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}  # fmt: skip
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
        fate: from the start of an image's name to what becomes of its pods: ready, crash, missing, silent, slow.
        npus: how many its one node has; None for a node without.
        log: what each pod writes, from its name.
        requests: method, path and query of every request.
        authorizations: what clients have shown.
        stuck: pods that do not go when they are told.
    """

    def __init__(
        self, version: str = "1.30", groups: tuple[str, ...] = tuple(KINDS), npus: int | None = None
    ) -> None:
        self.version = version
        self.groups = groups
        self.fate: dict[str, str] = {}
        self.npus = npus
        self.log: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.authorizations: set[str] = set()
        self.stuck = False
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.lock = threading.RLock()
        self._applied: dict[tuple[str, str, str], Object] = {}
        self._count = 0
        self.put("Namespace", {"metadata": {"name": "vision"}}, "")
        self.put("Node", self._node(), "")

    def find(self, kind: str, name: str = "", namespace: str = "vision") -> Any:
        """An object, or all of a kind if no name is given."""
        if name:
            return self.objects.get((kind, namespace, name))
        return [
            one for (a_kind, space, _), one in sorted(self.objects.items()) if (a_kind, space) == (kind, namespace)
        ]

    def put(self, kind: str, one: Object, namespace: str = "vision") -> Object:
        """Store an object as the server does, with what it adds."""
        self._count += 1
        meta = one.setdefault("metadata", {})
        key = (kind, namespace, meta["name"])
        old = self.objects.get(key)
        spec = json.dumps(one.get("spec"), sort_keys=True)
        changed = old is None or json.dumps(old.get("spec"), sort_keys=True) != spec
        meta["resourceVersion"] = str(self._count)
        meta["uid"] = old["metadata"]["uid"] if old else f"uid-{self._count}"
        meta["generation"] = (old["metadata"]["generation"] if old else 0) + changed
        meta["creationTimestamp"] = old["metadata"]["creationTimestamp"] if old else _now()
        if namespace:
            meta["namespace"] = namespace
        one.setdefault("apiVersion", next(api for api, kinds in KINDS.items() if kind in kinds))
        one["kind"] = kind
        self.objects[key] = one
        return one

    # What clients ask for.

    def create(self, kind: str, one: Object, namespace: str) -> Object:
        if (kind, namespace, one["metadata"]["name"]) in self.objects:
            raise Refused(409, "AlreadyExists", f'{kind} "{one["metadata"]["name"]}" already exists')
        self.check(one)
        return self.put(kind, one, namespace)

    def apply(self, kind: str, one: Object, namespace: str) -> Object:
        """Server-side apply by one manager, who takes fields from others by force."""
        self.check(one)
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

    def delete(self, kind: str, name: str, namespace: str, grace: str | None) -> None:
        one = self.objects[(kind, namespace, name)]
        if kind == "Pod" and grace is None:
            one["metadata"]["deletionTimestamp"] = _now()
            return
        del self.objects[(kind, namespace, name)]
        self._applied.pop((kind, namespace, name), None)
        if kind == "Deployment":
            for pod in self._pods(one):
                self.delete("Pod", pod["metadata"]["name"], namespace, None)

    def step(self) -> None:
        """The controllers, the scheduler and the kubelet do a little."""
        for key, pod in list(self.objects.items()):
            if key[0] == "Pod" and "deletionTimestamp" in pod["metadata"] and not self.stuck:
                del self.objects[key]
        for deployment in [one for key, one in list(self.objects.items()) if key[0] == "Deployment"]:
            self._roll_out(deployment)

    def check(self, one: Object) -> None:
        version = self.version if self.version in kubernetes_schemas.VERSIONS else kubernetes_schemas.VERSIONS[0]
        errors = kubernetes_schemas.errors(one, version)
        if errors:
            raise Refused(422, "Invalid", "; ".join(errors))

    def _node(self) -> Object:
        amounts = {"cpu": "8", "memory": "16Gi", **({NPU: str(self.npus)} if self.npus is not None else {})}
        status = {"allocatable": amounts, "capacity": amounts, "conditions": [{"type": "Ready", "status": "True"}]}
        return {"metadata": {"name": "node-1"}, "spec": {}, "status": status}

    def _pods(self, deployment: Object) -> list[Object]:
        labels = deployment["spec"]["selector"]["matchLabels"]
        pods = self.find("Pod", namespace=deployment["metadata"]["namespace"])
        return [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]

    def _roll_out(self, deployment: Object) -> None:
        spec, name, space = deployment["spec"], deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        template = json.dumps(spec["template"], sort_keys=True).encode()
        mark = hashlib.sha256(template).hexdigest()[:5]
        wanted = spec.setdefault("replicas", 1)
        pods = [pod for pod in self._pods(deployment) if "deletionTimestamp" not in pod["metadata"]]
        new = [pod for pod in pods if f"-{mark}-" in pod["metadata"]["name"]]
        old = [pod for pod in pods if pod not in new]
        unready = [pod for pod in new if not _ready(pod)]
        if old and not unready:  # one at a time, as maxUnavailable: 1 wants it
            self.delete("Pod", old.pop()["metadata"]["name"], space, None)
        for pod in new[wanted:]:
            self.delete("Pod", pod["metadata"]["name"], space, None)
        if len(new) + len(old) < wanted:
            self._count += 1
            meta = {**copy.deepcopy(spec["template"]["metadata"]), "name": f"{name}-{mark}-p{self._count}"}
            self.put(
                "Pod", {"metadata": meta, "spec": copy.deepcopy(spec["template"]["spec"]), "status": {}}, space
            )
        for pod in new[:wanted]:
            pod["status"] = self._status(pod)
        ready = [
            pod for pod in self._pods(deployment) if _ready(pod) and "deletionTimestamp" not in pod["metadata"]
        ]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(new) + len(old),
            "updatedReplicas": len(new),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
        }

    def _status(self, pod: Object) -> Object:
        container = pod["spec"]["containers"][0]
        npus = int(container["resources"]["limits"].get(NPU, 0))
        if npus and "nodeName" not in pod["spec"] and self._held() + npus > (self.npus or 0):
            message = f"0/1 nodes are available: 1 Insufficient {NPU}."
            unscheduled = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
            }
            return {"phase": "Pending", "conditions": [unscheduled]}
        pod["spec"]["nodeName"] = "node-1"
        fate = next((fate for start, fate in self.fate.items() if container["image"].startswith(start)), "ready")
        one: Object = {
            "name": "server",
            "image": container["image"],
            "imageID": "",
            "restartCount": 0,
            "ready": False,
        }
        one |= {"started": fate in ("ready", "silent"), "state": {"running": {}}}
        if fate == "ready":
            one["ready"] = True
        elif fate == "missing":
            one["state"] = {
                "waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}
            }
        elif fate == "crash":
            message = "loading\nerror: the package is damaged\n"
            one["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed"}}
            one["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
            one["restartCount"] = 3
        return {"phase": "Running", "containerStatuses": [one]}

    def _held(self) -> int:
        limits = [
            pod["spec"]["containers"][0]["resources"]["limits"]
            for key, pod in self.objects.items()
            if key[0] == "Pod" and "nodeName" in pod["spec"]
        ]
        return sum(int(one.get(NPU, 0)) for one in limits)


def _ready(pod: Object) -> bool:
    return any(one["ready"] for one in pod["status"].get("containerStatuses", ()))


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


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    cluster: Cluster

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = parts.path.strip("/").split("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        with self.cluster.lock:
            self.cluster.authorizations.add(self.headers.get("Authorization", ""))
            self.cluster.requests.append((self.command, parts.path, query))
            try:
                found = self._route(path, query, body)
            except Refused as refused:
                return self._send(refused.status, refused.code)
            except KeyError as error:
                message = f"{error.args[0]} not found"
                return self._send({**Refused(404, "NotFound", message).status}, 404)
        if isinstance(found, tuple):
            return self._log(found, query)
        return self._send(found)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def _route(self, path: list[str], query: dict[str, str], body: Object) -> Any:
        cluster = self.cluster
        if path == ["version"]:
            major, minor = cluster.version.split(".")
            return {"major": major, "minor": minor}
        size = 2 if path[0] == "api" else 3
        api, rest = "/".join(path[1:size]), path[size:]
        if api not in cluster.groups:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            return {"resources": [{"name": plural, "kind": kind} for kind, plural in KINDS[api].items()]}
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = next(kind for kind, plural in KINDS[api].items() if plural == rest[0])
        if len(rest) == 1:
            if self.command == "POST":
                return cluster.create(kind, body, namespace)
            return {"kind": f"{kind}List", "metadata": {}, "items": self._list(kind, namespace, query)}
        name = rest[1]
        if len(rest) == 3:
            assert rest[2] == "log"
            assert cluster.objects[(kind, namespace, name)]
            return (kind, namespace, name)
        if self.command == "DELETE":
            cluster.delete(kind, name, namespace, body.get("gracePeriodSeconds", query.get("gracePeriodSeconds")))
            return {"kind": "Status", "status": "Success"}
        if self.command == "PATCH":
            if self.headers["Content-Type"] == "application/apply-patch+yaml":
                assert query | {"dryRun": "All"} == {"fieldManager": "fieldwave", "force": "true", "dryRun": "All"}
                if "dryRun" in query:
                    cluster.check(body)
                    return body
                return cluster.apply(kind, body, namespace)
            assert self.headers["Content-Type"] == "application/merge-patch+json"
            return cluster.merge(kind, name, body, namespace)
        if kind == "Deployment":
            cluster.step()
        return cluster.objects[(kind, namespace, name)]

    def _list(self, kind: str, namespace: str, query: dict[str, str]) -> list[Object]:
        if kind in ("Deployment", "Pod"):
            self.cluster.step()
        wanted = dict(one.split("=") for one in query.get("labelSelector", "").split(",") if one)
        return [
            one
            for (a_kind, space, _), one in sorted(self.cluster.objects.items())
            if a_kind == kind
            and namespace in ("", space)
            and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]

    def _log(self, pod: tuple[str, str, str], query: dict[str, str]) -> None:
        lines = self.cluster.log.get(pod[2], [])
        sent = max(len(lines) - int(query.get("tailLines", 10**6)), 0)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            for line in lines[sent:]:
                data = f"{line}\n".encode()
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                sent += 1
            self.wfile.flush()
            if query.get("follow") != "true" or pod not in self.cluster.objects:
                break
            time.sleep(0.01)
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, content: Any, code: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """A kubeconfig file that leads to a server of this cluster."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    config = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "vision"}}],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    try:
        yield path
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
