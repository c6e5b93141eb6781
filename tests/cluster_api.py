"""A Kubernetes API server for tests: real HTTP on loopback, objects in memory, shapes as the real one has them.

It knows get, list with label selectors, server-side apply (merged, not owned field by field) and delete, and
answers Status objects with the codes and texts of the real one. It schedules nothing and knows no kinds: every
path is a place for objects.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(
    r"(?P<group>/api/v1|/apis/[^/]+/[^/]+)"
    r"(/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(/(?P<name>[^/]+))?"
)


class ClusterApi:
    """The server's state.

    Attributes:
        objects: by (plural, namespace, name).
        forbidden: plurals that the user may not see or change.
        requests: what was asked, ``METHOD path?query``.
        url: where it listens.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.forbidden: set[str] = set()
        self.requests: list[str] = []
        self.url = ""

    def put(self, plural: str, described: dict[str, Any]) -> None:
        """Place an object there as it is."""
        metadata = described["metadata"]
        metadata.setdefault("creationTimestamp", "2026-11-23T08:00:00Z")
        self.objects[plural, metadata.get("namespace", ""), metadata["name"]] = described

    def get(self, plural: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        return self.objects.get((plural, namespace, name))

    def kubeconfig(self, path: Path, context: str = "lab") -> Path:
        """A kubeconfig file with one context that leads here."""
        path.write_text(
            json.dumps(  # which is YAML
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                    "users": [{"name": "me", "user": {"token": "secret"}}],
                    "contexts": [{"name": context, "context": {"cluster": "here", "user": "me"}}],
                    "current-context": context,
                }
            )
        )
        return path

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {target}")
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        found = _PATH.fullmatch(parts.path)
        if found is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        plural, namespace, name = found["plural"], found["namespace"] or "", found["name"]
        if plural in self.forbidden:
            return _status(403, "Forbidden", f'{plural} is forbidden: User "me" cannot {method.lower()} it')
        if name is None:
            return self._list(plural, namespace, query.get("labelSelector", ""))
        key = (plural, namespace, name)
        if method == "PATCH":
            before = self.objects.get(key, {"metadata": {}})
            self.put(plural, _merged(before, json.loads(body)))
            return 200, self.objects[key]
        if key not in self.objects:
            return _status(404, "NotFound", f'{plural} "{name}" not found')
        if method == "DELETE":
            del self.objects[key]
            return _status(200, "", "", "Success")
        return 200, self.objects[key]

    def _list(self, plural: str, namespace: str, selector: str) -> tuple[int, dict[str, Any]]:
        wanted = dict(one.partition("=")[::2] for one in selector.split(",") if one)
        items = [
            described
            for (kind, where, _), described in sorted(self.objects.items())
            if kind == plural
            and (not namespace or where == namespace)
            and wanted.items() <= described["metadata"].get("labels", {}).items()
        ]
        return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}


@contextmanager
def cluster_api() -> Iterator[ClusterApi]:
    """A server that runs."""
    api = ClusterApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, said = api.answer(self.command, self.path, body)
            data = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def _status(code: int, reason: str, message: str, status: str = "Failure") -> tuple[int, dict[str, Any]]:
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": status,
        "message": message,
        "reason": reason,
        "code": code,
    }


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(patch, dict):
        return patch
    return before | {key: _merged(before.get(key), value) for key, value in patch.items()}
