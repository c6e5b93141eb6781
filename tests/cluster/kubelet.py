"""What a cluster asks of the node that its pods run on, and what it says of a pod."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

__all__ = ["Kubelet", "is_ready", "status"]

Object = dict[str, Any]


class Kubelet(Protocol):
    """A node's agent.

    Attributes:
        real: whether time passes for its pods; otherwise they take a step whenever somebody looks.
    """

    real: bool

    def sync(self, pod: Object) -> None:
        """Do a little for a pod that is bound to the node, and say in ``pod["status"]`` how it is.

        The cluster's lock is held. A pod that is told to go is removed from the cluster once it has ended.
        """

    def usage(self, pod: Object) -> float:
        """How many processors it has used lately."""

    def logs(self, pod: Object, lines: int | None, follow: bool) -> Iterator[bytes]:
        """Each line that its container writes, behind its time; empty where there is nothing new just now."""

    def run(self, pod: Object, container: str, command: Sequence[str]) -> tuple[int, bytes, bytes]:
        """The exit code and the two outputs of a command in a container of it."""

    def connect(self, pod: Object, port: int) -> socket.socket:
        """A connection to a port of it. Raises OSError."""

    def close(self) -> None:
        """End all that still runs."""


def status(
    container: Object,
    *,
    ready: bool = False,
    started: bool = False,
    restarts: int = 0,
    state: Object | None = None,
    last: Object | None = None,
    address: str = "",
    since: str = "",
) -> Object:
    """The status of a pod with this one container; ``since`` is when it became ready, or stopped being so."""
    one = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "restartCount": restarts,
        "ready": ready,
        "started": started,
        "state": state or {"running": {}},
        **({"lastState": last} if last else {}),
    }
    truth = [("PodScheduled", True), ("Initialized", True), ("ContainersReady", ready), ("Ready", ready)]
    said = [{"type": name, "status": str(value)} for name, value in truth]
    if since:
        said[-1]["lastTransitionTime"] = since
    running = "running" in one["state"] or restarts
    found = {"phase": "Running" if running else "Pending", "conditions": said, "containerStatuses": [one]}
    return {**found, **({"podIP": address, "podIPs": [{"ip": address}]} if address else {})}


def is_ready(pod: Object) -> bool:
    """Whether it answers its readiness probe."""
    return any(one["ready"] for one in pod.get("status", {}).get("containerStatuses", ()))
