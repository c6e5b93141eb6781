"""The API server: HTTP on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cluster.state import KINDS, WITHOUT_NAMESPACE, Cluster, Object, Refused
from tests.cluster.streams import WebSocket, forward_port, run_command

__all__ = ["serving", "write_kubeconfig"]

_COMMANDS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STEP_SECONDS = 0.2


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    cluster: Cluster

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self._queries = parse_qs(parts.query)
        query = {key: values[0] for key, values in self._queries.items()}
        path = parts.path.strip("/").split("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        fault = self.cluster.fault(self.command, parts.path)
        if fault == "cut":
            return self._cut()
        with self.cluster.lock:
            self.cluster.authorizations.add(self.headers.get("Authorization", ""))
            self.cluster.requests.append((self.command, parts.path, query))
            try:
                if fault == "refused":
                    raise Refused(503, "ServiceUnavailable", "etcd has no leader")
                found = self._route(path, query, body)
            except Refused as refused:
                return self._send(refused.status, refused.code)
            except KeyError as error:
                message = f"{error.args[0]} not found"
                return self._send({**Refused(404, "NotFound", message).status}, 404)
            data = None if isinstance(found, tuple) else json.dumps(found).encode()
        if fault == "lost":
            return self._cut()
        if data is None:
            return self._stream(*found, query)
        return self._send_bytes(data)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def _route(self, path: list[str], query: dict[str, str], body: Object) -> Any:
        """The answer, or a pod and what is wanted of it."""
        cluster = self.cluster
        if path == ["version"]:
            major, minor = cluster.version.split(".")
            return {"major": major, "minor": minor}
        if len(path) == 1:
            return _groups(path[0], cluster.groups)
        size = 2 if path[0] == "api" else 3
        api, rest = "/".join(path[1:size]), path[size:]
        if api not in cluster.groups:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if not rest:
            found = [_resource(kind, plural) for kind, plural in KINDS[api].items()]
            return {"kind": "APIResourceList", "groupVersion": api, "resources": found}
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = next((kind for kind, plural in KINDS[api].items() if plural == rest[0]), "")
        if not kind:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        if rest[0] in cluster.forbidden or "/".join(rest[::2]) in cluster.forbidden:
            message = f'{rest[0]} is forbidden: User "me" cannot {self.command.lower()} it'
            raise Refused(403, "Forbidden", message)
        if kind in ("Deployment", "Pod") and self.command == "GET" and not cluster.kubelet.real:
            cluster.step()
        if len(rest) == 1:
            if self.command == "POST":
                return cluster.create(kind, body, namespace)
            return {
                "kind": f"{kind}List",
                "apiVersion": api,
                "metadata": {},
                "items": self._list(kind, namespace, query),
            }
        name = rest[1]
        if kind in WITHOUT_NAMESPACE:
            namespace = ""
        if len(rest) == 3:
            return cluster.objects[(kind, namespace, name)], rest[2]
        if self.command == "DELETE":
            cluster.delete(kind, name, namespace, body.get("gracePeriodSeconds", query.get("gracePeriodSeconds")))
            return {"kind": "Status", "status": "Success"}
        if self.command == "PATCH":
            return self._patch(kind, name, namespace, query, body)
        return cluster.objects[(kind, namespace, name)]

    def _patch(self, kind: str, name: str, namespace: str, query: dict[str, str], body: Object) -> Object:
        if self.headers["Content-Type"] == "application/apply-patch+yaml":
            assert query["fieldManager"] in ("fieldwave", "kubectl")
            if "dryRun" in query:
                self.cluster.check(body, namespace)
                return body
            return self.cluster.apply(kind, body, namespace)
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        return self.cluster.merge(kind, name, body, namespace)

    def _list(self, kind: str, namespace: str, query: dict[str, str]) -> list[Object]:
        wanted = dict(one.split("=") for one in query.get("labelSelector", "").split(",") if one)
        return [
            one
            for one in self.cluster.all(kind)
            if namespace in ("", one["metadata"].get("namespace", ""))
            and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]

    def _stream(self, pod: Object, what: str, query: dict[str, str]) -> None:
        kubelet = self.cluster.kubelet
        if what == "log":
            lines = int(query["tailLines"]) if "tailLines" in query else None
            return self._log(kubelet.logs(pod, lines, query.get("follow") == "true"))
        if what == "exec":
            command, container = self._queries["command"], query["container"]
            return run_command(WebSocket(self, _COMMANDS), lambda: kubelet.run(pod, container, command))
        assert what == "portforward"
        port = int(query["ports"])
        return forward_port(WebSocket(self, _COMMANDS[1:]), port, lambda: kubelet.connect(pod, port))

    def _log(self, lines: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(ConnectionError):
            for line in lines:
                if line:
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, content: Any, code: int = 200) -> None:
        self._send_bytes(json.dumps(content).encode(), code)

    def _send_bytes(self, data: bytes, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


def _groups(path: str, served: tuple[str, ...]) -> Object:
    """What /api and /apis say, by which kubectl finds the kinds."""
    if path == "api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    groups = []
    for api in served:
        group, _, version = api.rpartition("/")
        named = {"groupVersion": api, "version": version}
        groups += [{"name": group, "versions": [named], "preferredVersion": named}] if group else []
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _resource(kind: str, plural: str) -> Object:
    verbs = ["create", "delete", "get", "list", "patch"]
    name = {"name": plural, "singularName": kind.lower(), "kind": kind}
    return {**name, "namespaced": kind not in WITHOUT_NAMESPACE, "verbs": verbs}


def write_kubeconfig(cluster: Cluster, path: Path, context: str) -> Path:
    """A kubeconfig file with one context that leads to a cluster that is served."""
    named = {"context": {"cluster": "here", "user": "me"}, "name": context}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": "here", "cluster": {"server": cluster.url}}],
        "contexts": [named],
        "users": [{"name": "me", "user": {"token": "secret"}}],
    }
    path.write_text(json.dumps(config))  # which is YAML
    return path


@contextmanager
def serving(cluster: Cluster, folder: Path) -> Iterator[Path]:
    """A kubeconfig file that leads to a server of this cluster, whose controllers work; its pods end with it."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    ended = threading.Event()
    worker = threading.Thread(target=_work, args=(cluster, ended), daemon=True)
    if cluster.kubelet.real:
        worker.start()
    cluster.url = f"http://127.0.0.1:{server.server_port}"
    path = write_kubeconfig(cluster, folder / "kubeconfig", "here")
    try:
        yield path
    finally:
        ended.set()
        if cluster.kubelet.real:
            worker.join()
        cluster.kubelet.close()
        server.shutdown()
        server.server_close()
        thread.join()


def _work(cluster: Cluster, ended: threading.Event) -> None:
    while not ended.wait(_STEP_SECONDS):
        with cluster.lock:
            cluster.step()
