"""Real containers for tests: podman with a configuration that works without systemd, and storage of its own.

Debian's podman, under root without CAP_SYS_RESOURCE and on hybrid cgroups, runs containers by runc, with limits
that it may set, and cgroups that it writes itself. Storage, networks and run files lie in a temporary folder, so
that tests neither meet each other nor find what the machine's user has.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fieldwave.images import add_base
from fieldwave.images.debian import make_debian
from fieldwave.images.wheels import cache_folder
from fieldwave.store import LayoutStore

PROGRAM = shutil.which("podman")
MISSING = "podman is not installed: apt-get install podman runc catatonit netavark"

_MONTH_SECONDS = 30 * 24 * 3600
_CONFIG = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
network_cmd_path = ""
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
default_network = "fieldwave-{mark}"
default_subnet = "10.{high}.{low}.0/24"
"""


@dataclass(frozen=True)
class Podman:
    """podman with storage of its own.

    Attributes:
        folder: where all of it lies, but for what runs.
        run: the state of what runs; podman wants a path of at most 50 characters.
        environment: for a process that is to meet the same podman, such as one that ssh starts.
        network: whose addresses no other podman of this machine gives out.
    """

    folder: Path
    run: Path
    environment: dict[str, str]
    network: str = ""

    def __call__(self, *arguments: str, timeout: float = 120.0, check: bool = True, both: bool = False) -> str:
        """Run ``podman ARGUMENTS`` and return what it prints; with ``both``, what it prints as errors, too."""
        done = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0 or not check, f"podman {' '.join(arguments)}: {done.stderr.strip()}"
        return (done.stdout + (done.stderr if both else "")).strip()

    @property
    def command(self) -> list[str]:
        """The program with the options that name its storage."""
        assert PROGRAM is not None
        return [PROGRAM, f"--root={self.folder}/storage", f"--runroot={self.run}"]

    def inspect(self, container: str) -> dict[str, Any]:
        """What ``podman inspect`` says of a container or image."""
        found: list[dict[str, Any]] = json.loads(self("inspect", container))
        return found[0]

    def image_store(self) -> str:
        """The storage as skopeo names it: ``containers-storage:[...]NAME``."""
        return f"containers-storage:[overlay@{self.folder}/storage+{self.run}]"


@contextmanager
def podman(folder: Path) -> Iterator[Podman]:
    """podman with its storage in ``folder``; what it runs is ended, and what it keeps deleted, at the end."""
    config = folder / "containers.conf"
    folder.mkdir(parents=True, exist_ok=True)
    # Each knows its own addresses alone: with podman's usual network two of them would give out the same ones.
    high, low = 128 + secrets.randbelow(127), secrets.randbelow(256)
    mark = secrets.token_hex(4)
    config.write_text(_CONFIG.format(folder=folder, mark=mark, high=high, low=low))
    _make_network(folder / "networks", mark, f"10.{high}.{low}")
    environment = {**os.environ, "CONTAINERS_CONF": str(config), "TMPDIR": str(folder)}
    run = Path(tempfile.mkdtemp(prefix="fw-podman-", dir="/tmp"))
    it = Podman(folder, run, environment, f"fieldwave-{mark}")
    storage = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/storage"\nrunroot = "{run}"\n'
    (folder / "storage.conf").write_text(storage)
    try:
        yield it
    finally:
        it("pod", "rm", "--all", "--force", "--time=1", check=False)
        it("rm", "--all", "--force", "--time=1", check=False)
        it("rmi", "--all", "--force", check=False)
        # What an overlay has mounted would keep the temporary folder.
        subprocess.run(["umount", str(folder / "storage" / "overlay")], capture_output=True, check=False)
        shutil.rmtree(run, ignore_errors=True)


def _make_network(folder: Path, mark: str, prefix: str) -> None:
    """Describe the default network, as podman keeps it, with a bridge of its own.

    podman would call the bridge podman0, and so would the next podman beside it: the first to end takes it away.
    """
    described = {
        "name": f"fieldwave-{mark}",
        "id": hashlib.sha256(mark.encode()).hexdigest(),
        "driver": "bridge",
        "network_interface": f"fw{mark}",
        "created": "2026-01-01T00:00:00Z",
        "subnets": [{"subnet": f"{prefix}.0/24", "gateway": f"{prefix}.1"}],
        "ipv6_enabled": False,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }
    folder.mkdir(exist_ok=True)
    (folder / f"fieldwave-{mark}.json").write_text(json.dumps(described))


def needs_base() -> None:
    """Skip a test that makes a real base and downloads real wheels, where that cannot be done."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed: apt-get install mmdebstrap")


def real_store(folder: Path) -> LayoutStore:
    """A store with a base of Debian's packages, which is made once on a machine, and again after a month."""
    needs_base()
    kept = cache_folder().parent / "tests" / "debian-12.tar.gz"
    if not kept.exists() or kept.stat().st_mtime < time.time() - _MONTH_SECONDS:
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = kept.with_name(f".{os.getpid()}.tar.gz")
        make_debian(made)
        made.replace(kept)
    store = LayoutStore(folder / "store")
    add_base(store, str(kept), "debian")
    return store
