"""The other servers of ``benchmarks/peers``: installed each into an environment of its own, and started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["ENVIRONMENTS", "PEERS", "Peer", "install", "started"]

ENVIRONMENTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fieldwave" / "peers"
SCRIPTS = Path(__file__).resolve().parent / "peers"
WITH = ("numpy", "pillow", "python-multipart")
"""What their models need, and the reading of forms."""
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Peer:
    """A server that others wrote.

    Attributes:
        name: for people.
        distribution: which pip installs.
        script: of ``benchmarks/peers``.
        protocol: what it is asked by.
    """

    name: str
    distribution: str
    script: str
    protocol: Literal["grpc", "http"]


PEERS = (
    Peer("KServe", "kserve", "kserve_server.py", "grpc"),
    Peer("MLServer", "mlserver", "mlserver_server.py", "grpc"),
    Peer("Triton (PyTriton wheel)", "nvidia-pytriton", "triton_server.py", "grpc"),
    Peer("BentoML", "bentoml", "bentoml_server.py", "http"),
    Peer("LitServe", "litserve", "litserve_server.py", "http"),
)


def install(peer: Peer, environments: Path) -> str:
    """Make its environment if it is missing; return the version, empty if it cannot be installed."""
    python = environments / peer.distribution / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
    if not (version := _version(python, peer.distribution)):
        print(f"installing {peer.distribution}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "-q", peer.distribution, *WITH], check=False)
        version = _version(python, peer.distribution)
    return version


def _version(python: Path, distribution: str) -> str:
    code = (
        f"import importlib.metadata as m; import PIL, numpy, python_multipart; print(m.version({distribution!r}))"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip()


@contextmanager
def started(peer: Peer, environments: Path) -> Iterator[tuple[int, int]]:
    """Its ports, of gRPC and of HTTP, as soon as it listens.

    Raises:
        RuntimeError: it does not.
    """
    grpc_port, http_port = _free_ports(2)
    # It finds what it starts itself in its own environment.
    python = environments / peer.distribution / "bin" / "python"
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "BENTOML_DO_NOT_TRACK": "true"}
    environment.pop("PYTHONPATH", None)
    port = grpc_port if peer.protocol == "grpc" else http_port
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w+b") as log:
        command = [python, SCRIPTS / peer.script, str(grpc_port), str(http_port), folder]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            end = time.monotonic() + _START_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise RuntimeError(
                        f"{peer.name} does not start:\n{log.read()[-3000:].decode(errors='replace')}"
                    )
                time.sleep(0.2)
            yield grpc_port, http_port
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, which is in a session of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(10)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
