"""A kubelet that runs pods, by ``podman play kube``.

What podman leaves of a kubelet's work is done here: pulling, Secrets as files that change, probes, restarts with a
back-off, the farewell before the end.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.cluster.real_pod import RealPod
from tests.containers import Podman

if TYPE_CHECKING:
    from tests.cluster.state import Cluster

__all__ = ["PodmanKubelet"]

Object = dict[str, Any]
_TICKS = os.sysconf("SC_CLK_TCK")


class PodmanKubelet:
    """The agent of a node whose pods are podman's.

    Attributes:
        cluster: which it belongs to; to be set before the first pod is there.
        podman: with storage of its own.
        folder: for the volumes.
    """

    real = True
    cluster: Cluster

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.podman = podman
        self.folder = folder
        self._pods: dict[str, RealPod] = {}
        self._used: dict[str, tuple[float, float]] = {}

    def sync(self, pod: Object) -> None:
        meta = pod["metadata"]
        running = self._pods.get(meta["uid"])
        if running is None:
            running = self._pods[meta["uid"]] = RealPod(self.podman, self.cluster, pod, self.folder / meta["uid"])
        if "deletionTimestamp" in meta and not self.cluster.stuck:
            running.end()
        if running.is_over:
            del self._pods[meta["uid"]]
            with suppress(KeyError):
                self.cluster.delete("Pod", meta["name"], meta["namespace"], "0")
        else:
            running.look_at(pod)

    def usage(self, pod: Object) -> float:
        running = self._pods.get(pod["metadata"]["uid"])
        if running is None or not running.pid:
            return 0.0
        with suppress(OSError):
            fields = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()
            used, now = (int(fields[11]) + int(fields[12])) / _TICKS, time.monotonic()
            before, then = self._used.get(running.name, (used, now - 1.0))
            if now - then < 1.0:
                return running.processors
            self._used[running.name] = used, now
            running.processors = (used - before) / (now - then)
        return running.processors

    def logs(self, pod: Object, lines: int | None, follow: bool) -> Iterator[bytes]:
        options = ["--timestamps", *(["--tail", f"{lines}"] if lines is not None else [])]
        command = [*self.podman.command, "logs", *options, *(["--follow"] if follow else [])]
        container = f"{pod['metadata']['name']}-{pod['spec']['containers'][0]['name']}"
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*command, container], env=self.podman.environment, stdout=pipe, stderr=subprocess.STDOUT
        )
        try:
            assert process.stdout is not None
            yield from (line for line in process.stdout if line[:2] == b"20")  # not what podman says itself
        finally:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def run(self, pod: Object, container: str, command: Sequence[str]) -> tuple[int, bytes, bytes]:
        name = f"{pod['metadata']['name']}-{container}"
        done = subprocess.run(
            [*self.podman.command, "exec", name, *command], env=self.podman.environment, capture_output=True
        )
        return done.returncode, done.stdout, done.stderr

    def connect(self, pod: Object, port: int) -> socket.socket:
        return socket.create_connection((pod["status"]["podIP"], port), 10)

    def close(self) -> None:
        threads: list[threading.Thread] = []
        for pod in self._pods.values():
            pod.end(at_once=True)
            threads.append(pod.thread)
        for thread in threads:
            thread.join(60)
