"""A real edge box for tests: sshd on a free port of loopback, with keys and settings of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldwave.ssh import Host
from tests.containers import Podman

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin")
MISSING = "sshd is not installed: apt-get install openssh-server"

_SSHD_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
Subsystem sftp internal-sftp
{more}
"""
_SSH_CONFIG = """\
Host box
    HostName 127.0.0.1
    Port {port}
    HostKeyAlias box
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile /dev/null
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
"""


@dataclass
class Box:
    """A running sshd.

    Attributes:
        folder: with its keys, and ``home``, where what is deployed is kept.
        process: the sshd; the connections are processes of their own.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def host(self) -> Host:
        """What its engineer would write: the name in the configuration of ssh."""
        return Host("box", config=str(self.folder / "ssh_config"), folder=str(self.data))

    @property
    def data(self) -> Path:
        """Where the box keeps what was deployed."""
        return self.folder / "home" / "fieldwave"

    def cut(self) -> int:
        """End every connection at once, as a broken link does; how many there were."""
        connections = _children(self.process.pid)
        for pid in connections:
            # The one that serves the link may be a child of the one that sshd forked.
            for each in (*[child for child in _children(pid) if _is_sshd(child)], pid):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        return len(connections)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_sshd(pid: int) -> bool:
    try:
        return "sshd" in Path(f"/proc/{pid}/comm").read_text()
    except FileNotFoundError:
        return False


def podman_environment(podman: Podman) -> dict[str, str]:
    """What makes the box's podman the one of these tests, and no other."""
    named = {name: podman.environment[name] for name in ("CONTAINERS_CONF", "TMPDIR")}
    return {**named, "CONTAINERS_STORAGE_CONF": str(podman.folder / "storage.conf")}


def make_key(path: Path) -> str:
    """A new key pair in two files; the public one."""
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(keygen, check=True)
    return path.with_suffix(".pub").read_text()


@contextmanager
def running(folder: Path, *, more: str = "", environment: Mapping[str, str] | None = None) -> Iterator[Box]:
    """A box whose state lives in ``folder``; ``environment`` is what its users' commands see."""
    if SSHD is None:
        pytest.skip(MISSING)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd run by root asks for it
    folder.mkdir(exist_ok=True)
    data = folder / "home"
    data.mkdir(exist_ok=True)
    host_key = make_key(folder / "host_key")
    (folder / "authorized_keys").write_text(make_key(folder / "user_key"))
    (folder / "known_hosts").write_text(f"box {host_key}")
    settings = "".join(f' "{key}={value}"' for key, value in (environment or {}).items())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "sshd_config").write_text(
        _SSHD_CONFIG.format(folder=folder, port=port, more=f"{settings and 'SetEnv'}{settings}\n{more}")
    )
    (folder / "ssh_config").write_text(_SSH_CONFIG.format(folder=folder, port=port))
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "sshd.log").read_text()
                assert time.monotonic() < deadline, "sshd does not answer"
                time.sleep(0.02)
        box = Box(folder, port, process)
        yield box
        box.cut()
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":  # a box to try things on: python tests/edge_box.py FOLDER
    with running(Path(sys.argv[1]).absolute()) as tried:
        print(f"ssh -F {tried.folder}/ssh_config box")
        tried.process.wait()
