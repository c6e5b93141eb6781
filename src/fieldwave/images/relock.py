"""Writes the lock files of the runtime anew: ``python -m fieldwave.images.relock``, in a clone of the project."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from fieldwave.errors import NotFoundError
from fieldwave.files import write_atomically
from fieldwave.images.lock import ARCHITECTURES, PYTHON, Pinned, lock_file, pip_target

__all__ = ["relock"]


def relock(architecture: str) -> Path:
    """Ask pip what it would install now for the runtime, and write that down with the hash of each file.

    Raises:
        NotFoundError: this is no clone of the project.
    """
    return _write(architecture, _resolve(architecture, _requirements()))


def _resolve(architecture: str, requirements: list[str]) -> list[Pinned]:
    """What pip would install now, with the hash of each file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        command += [f"--report={report}", f"--target={folder}/none", *pip_target(architecture), *requirements]
        subprocess.run(command, check=True)
        chosen = json.loads(report.read_text())["install"]
    return [
        Pinned(
            each["metadata"]["name"].lower().replace("_", "-"),
            each["metadata"]["version"],
            each["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for each in chosen
    ]


def _write(architecture: str, wheels: list[Pinned]) -> Path:
    head = f"# The runtime of images, Python {PYTHON}, {architecture}; by: python -m fieldwave.images.relock\n"
    lines = sorted(wheel.line for wheel in wheels)
    path = lock_file(architecture)
    write_atomically(path, (head + "".join(f"{line}\n" for line in lines)).encode())
    return path


def _requirements() -> list[str]:
    project = Path(__file__).parents[3] / "pyproject.toml"
    if not project.is_file():
        raise NotFoundError(f"no {project}: the lock files are written in a clone of the project")
    return list(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])


if __name__ == "__main__":
    for _architecture in ARCHITECTURES:
        sys.stdout.write(f"wrote {relock(_architecture)}\n")
