"""An edge box: what is known of it, and the one script by which everything is done there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn

from fieldwave.errors import ConflictError, FieldwaveError, HostError, NotFoundError, ServiceError, StorageError
from fieldwave.ssh import ConnectionLost, Host, Result, Ssh

__all__ = ["Box", "Facts", "Listed"]

OLDEST_PODMAN = (4, 3)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le"}
_PLAY_SECONDS = 300.0
_ANSWER_SECONDS = 60.0
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Facts:
    """What a box is.

    Attributes:
        user: who we are there; ``root``: whether with root's rights.
        machine: its processor, in OCI's words: ``amd64``, ``arm64``.
        folder: where everything is kept there.
        podman: its version.
        manager: which systemd starts services with the box: ``system``, ``user``, or empty where there is none.
        store: where podman keeps images there.
        services: the names of the services on it.
    """

    user: str
    root: bool
    machine: str
    folder: str
    podman: str
    manager: str
    store: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """What is on a box.

    Attributes:
        time: its own clock, seconds since 1970.
        records: what was asked for, for each service.
        containers: what podman says of each container, by the container's name.
    """

    time: int
    records: list[dict[str, Any]]
    containers: dict[str, dict[str, Any]]


class Box:
    """A box at the end of a connection.

    Parameters:
        ssh: the connection; it is opened by the first call.
        patience: seconds for which a call that a broken link ended is made again.
    """

    def __init__(self, ssh: Ssh, patience: float = 0.0) -> None:
        self.ssh = ssh
        self.patience = patience
        self._facts: Facts | None = None

    @property
    def host(self) -> Host:
        return self.ssh.host

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.ssh.host.destination

    def facts(self, *, again: bool = False) -> Facts:
        """What it is; asked once unless ``again``.

        Raises:
            HostError: it cannot be reached, or lacks podman, or has one that is too old.
        """
        if self._facts is None or again:
            said = dict(line.split("=", 1) for line in self.call("facts").text.splitlines() if "=" in line)
            self._facts = Facts(
                user=said["user"],
                root=said["root"] == "yes",
                machine=_MACHINES.get(said["machine"], said["machine"]),
                folder=said["folder"],
                podman=said["podman"],
                manager=said["manager"],
                store=said["store"],
                services=tuple(said["services"].split()),
            )
            self._check(self._facts, said["flock"])
        return self._facts

    def call(self, verb: str, *words: str, stdin: bytes | None = None, timeout: float = _ANSWER_SECONDS) -> Result:
        """Run one verb of ``box.sh``, again if the link breaks meanwhile: all but ``start`` may run twice.

        Raises:
            ConflictError: the name or the port is taken, or somebody else is at work there.
            NotFoundError: there is no such service.
            StorageError: the disk there is full or cannot be written.
            ServiceError: podman failed there.
            HostError: the box cannot be reached, or lacks something.
        """
        patience = 0.0 if verb == "start" else self.patience
        result = self._run(self._command(verb, words), patience, stdin=stdin, timeout=timeout)
        if result.code != 0:
            self._fail(result)
        return result

    def has_image(self, reference: str) -> bool:
        """Whether podman there has an image; asked again if the link breaks meanwhile. Raises HostError."""
        return self._run(["podman", "image", "exists", reference], self.patience).code == 0

    def play(self, mode: str, name: str, token: str, archive: bytes = b"") -> str:
        """Put a service's files in place and have podman play them: ``fresh``, ``update`` or ``undo``.

        Returns:
            What its engineer should know, one line; mostly nothing.

        Raises:
            as `call`. After a broken connection the box has gone on by itself; ask it.
        """
        words = (name, token, str(len(archive)), mode)
        return self.call("start", *words, stdin=archive, timeout=_PLAY_SECONDS).error.strip()

    def lines(self, verb: str, *words: str) -> Iterator[str]:
        """The output of a verb, line by line, as it comes."""
        return self.ssh.lines(self._command(verb, words))

    def listed(self, *names: str) -> Listed:
        """What is deployed there: all of it, or the services of these names.

        Raises:
            as `call`.
        """
        head, _, containers = self.call("list", *names).text.partition("\n\n")
        clock, *records = head.splitlines()
        return Listed(
            time=int(clock),
            records=[json.loads(line) for line in records],
            containers={one["Name"].lstrip("/"): one for one in json.loads(containers)},
        )

    def _run(
        self, command: list[str], patience: float, *, stdin: bytes | None = None, timeout: float = _ANSWER_SECONDS
    ) -> Result:
        """Run a command, again for ``patience`` seconds if the link breaks meanwhile."""
        deadline = time.monotonic() + patience
        lost = False
        while True:
            try:
                return self.ssh.run(command, stdin=stdin, timeout=timeout)
            except HostError as error:
                lost = lost or isinstance(error, ConnectionLost)
                if not lost or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)

    def _command(self, verb: str, words: tuple[str, ...]) -> list[str]:
        return ["sh", "-c", _script(), "box.sh", self.host.folder, verb, *words]

    def _check(self, facts: Facts, flock: str) -> None:
        if not facts.podman:
            raise HostError(
                f"{self.name}: podman is not installed there; install it with the box's package manager"
            )
        if not flock:
            raise HostError(f"{self.name}: flock is not installed there; it is in the package util-linux")
        version = tuple(int(part) for part in re.findall(r"\d+", facts.podman)[:2])
        if version < OLDEST_PODMAN:
            oldest = ".".join(map(str, OLDEST_PODMAN))
            raise HostError(f"{self.name}: podman there is {facts.podman}; {oldest} or later is needed")

    def _fail(self, result: Result) -> NoReturn:
        lines = [line.strip() for line in result.error.splitlines() if line.strip()]
        said = lines[-1] if lines else f"it ended with exit code {result.code}"
        kinds: dict[int, type[FieldwaveError]] = {
            10: ConflictError,
            11: NotFoundError,
            12: HostError,
            13: StorageError,
            14: ConflictError,
            15: ServiceError,
            16: ConnectionLost,
        }
        raise kinds.get(result.code, HostError)(f"{self.name}: {said}")


@cache
def _script() -> str:
    return files("fieldwave.deploy.edge").joinpath("box.sh").read_text(encoding="utf-8")
