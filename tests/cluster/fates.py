"""A kubelet without containers: what becomes of a pod depends on the name of its image, and takes no time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tests.cluster.kubelet import status

if TYPE_CHECKING:
    from tests.cluster.state import Cluster

__all__ = ["Fates"]

Object = dict[str, Any]


class Fates:
    """Pods become what `Cluster.fate` says: from the start of an image's name to crash, missing, silent or slow.

    All others become ready.

    Attributes:
        address: of every pod; one of loopback, so that what a test runs there seems to run in the pod.
        used: how many processors each pod has used lately.
    """

    real = False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.address = ""
        self.used = 0.0

    def sync(self, pod: Object) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            if not self._cluster.stuck:
                self._cluster.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"], "0")
            return
        container = pod["spec"]["containers"][0]
        fates = self._cluster.fate.items()
        fate = next((fate for start, fate in fates if container["image"].startswith(start)), "ready")
        if fate == "missing":
            waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}
            pod["status"] = status(container, state={"waiting": waiting})
        elif fate == "crash":
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed"}
            message = "loading\nerror: the package is damaged\n"
            ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
            pod["status"] = status(container, restarts=3, state={"waiting": waiting}, last=ended)
        else:
            started = fate in ("ready", "silent")
            pod["status"] = status(container, ready=fate == "ready", started=started, address=self.address)

    def usage(self, pod: Object) -> float:
        return self.used

    def logs(self, pod: Object, lines: int | None, follow: bool) -> Iterator[bytes]:
        name = pod["metadata"]["name"]
        written = self._cluster.log.get(name, [])
        sent = 0 if lines is None else max(len(written) - lines, 0)
        while True:
            for line in written[sent:]:
                sent += 1
                yield f"{line}\n".encode()
            if not follow or not self._cluster.find("Pod", name, pod["metadata"]["namespace"]):
                return
            yield b""
            time.sleep(0.01)

    def run(self, pod: Object, container: str, command: Sequence[str]) -> tuple[int, bytes, bytes]:
        return 127, b"", b"nothing runs here"

    def connect(self, pod: Object, port: int) -> socket.socket:
        return socket.create_connection((self.address, port))

    def close(self) -> None:
        pass
