"""podman on this machine: the image of a service, its container, and what is left of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fieldwave.deploy.orders import Assignment
from fieldwave.errors import NotFoundError, ServiceError
from fieldwave.images import Image, Images
from fieldwave.images.inside import KEYS, TLS
from fieldwave.leases import Lease
from fieldwave.leases.machine import GIVEN_VARIABLE, to_given

__all__ = ["container_name", "load", "remove", "remove_all", "run_command", "stop_command"]

_LABEL = "dev.fieldwave.service"
_STOP_SECONDS = 12  # the server itself drains for 10 s


def load(images: Images, image: Image) -> None:
    """Have podman know the image, by the name that `Image.reference` gives it.

    Raises:
        NotFoundError: there is no podman here.
        ServiceError: podman does not take it.
        StorageError: there is no room for the archive.
    """
    if subprocess.run([_podman(), "image", "exists", image.reference()], check=False).returncode == 0:
        return
    with tempfile.TemporaryDirectory(prefix="fieldwave-") as folder:
        archive = Path(folder) / "image.tar"
        images.export(image, archive)
        _run("load", "--quiet", "--input", str(archive))


def container_name(folder: Path, assignment: Assignment) -> str:
    """The container of one replica: the same each time, and unlike that of any other workspace's service."""
    return f"fieldwave-{assignment.name}-{_short(folder)}-{assignment.port}"


def run_command(folder: Path, assignment: Assignment, lease: Lease) -> list[str]:
    """The command line that runs one replica until it ends.

    It has the host's network, so that 127.0.0.1 is this machine's, and nothing else of the host but its NPU, its
    keys and its certificates: no capability, no way to more rights, and no file that it could write but in /tmp.
    """
    options = [
        *("--name", container_name(folder, assignment)),
        *("--label", f"{_LABEL}={_short(folder)}"),
        *("--rm", "--pull", "never", "--network", "host", "--read-only", "--tmpfs", "/tmp"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--stop-timeout", str(_STOP_SECONDS)),
    ]
    if lease.slot is not None:
        options += ["--env", f"{GIVEN_VARIABLE}={to_given((lease.slot,))}"]
        options += [f"--device={file}" for file in lease.slot.files]
    serve = ["--host", assignment.host, "--grpc-port", str(assignment.port), "--device", lease.device]
    if assignment.http_port is not None:
        serve += ["--http-port", str(assignment.http_port)]
    if assignment.keys:
        # They are this user's alone, who is the container's root: without any capability that is no more than she.
        options += ["--user", "0:0", "--volume", f"{assignment.keys}:{KEYS}:ro"]
        serve += ["--keys", KEYS]
    files = {"tls-cert": assignment.tls_cert, "tls-key": assignment.tls_key, "client-ca": assignment.client_ca}
    for option, file in files.items():
        if file:
            options += ["--volume", f"{file}:{TLS}/{option}:ro"]
            serve += [f"--{option}", f"{TLS}/{option}"]
    return [_podman(), "run", *options, assignment.container, *serve]


def stop_command(folder: Path, assignment: Assignment) -> list[str]:
    """The command line that ends it in order."""
    return [_podman(), "stop", "--ignore", container_name(folder, assignment)]


def remove(folder: Path, assignment: Assignment) -> None:
    """Remove the container of one replica at once, if it is there. Raises ServiceError."""
    _run("rm", "--force", "--ignore", "--time", "0", container_name(folder, assignment))


def remove_all(folder: Path) -> None:
    """Remove what is left of a service's containers, as after the death of all who looked after them."""
    for name in _run("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={_short(folder)}").split():
        _run("rm", "--force", "--ignore", "--time", "0", name)


def _short(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]


def _podman() -> str:
    found = shutil.which("podman")
    if found is None:
        raise NotFoundError(
            "podman is not on this machine; install it (apt-get install podman), "
            "or deploy without --runtime podman"
        )
    return found


def _run(*arguments: str) -> str:
    command: Sequence[str] = [_podman(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ServiceError(f"podman {arguments[0]}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
