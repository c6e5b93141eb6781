"""The files of a service: the state of record, read by every process that asks.

::

    <workspace>/services/<name>/
        service.json    what was asked for (Spec); written once, before the folder gets its name
        package.zip     the package that is served, a copy
        status.json     what is (Status); the supervisor replaces it whole at every change
        lock            held by the supervisor for its life: whether it runs is read off this lock; its process id
        service.log     the output of the serving process; service.log.1 is the part before

A folder appears under its name complete, and disappears whole (both by rename), so nobody sees a half of one.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from fieldwave.errors import StorageError
from fieldwave.processes import ProcessFolder
from fieldwave.processes.records import now, read, write

__all__ = ["ServiceFolder", "Spec", "State", "Status", "now"]

State = Literal["Starting", "Healthy", "Restarting", "Failed", "Stopped"]


@dataclass(frozen=True)
class Spec:
    """What was asked for.

    Attributes:
        package: digest of the package, ``sha256:...``.
        created: when it was deployed, ISO 8601 in UTC.
        command: the serving process's command line; the service's folder is added to it.
    """

    name: str
    network: str
    device: str
    host: str
    port: int
    package: str
    created: str
    command: list[str]


@dataclass(frozen=True)
class Status:
    """What is, as its supervisor knows it.

    Attributes:
        supervisor: process id of the supervisor, which leads a process group of that number.
        pid: process id of the serving process; None while there is none.
        restarts: how often a serving process has died and was to be started again.
        started: when the serving process was started last, ISO 8601 in UTC.
        last_exit: how the serving process ended last: ``exit code 1``, ``SIGKILL``; empty if it never did.
        last_error: why, in its own words where it had any.
    """

    state: State
    supervisor: int
    pid: int | None = None
    restarts: int = 0
    started: str = ""
    last_exit: str = ""
    last_error: str = ""


@dataclass(frozen=True)
class ServiceFolder(ProcessFolder):
    """One service's folder and the files in it."""

    kind: ClassVar[str] = "service"
    ending: ClassVar[str] = "delete"

    @property
    def package(self) -> Path:
        return self.path / "package.zip"

    def leader(self) -> int | None:
        """The supervisor."""
        # The lock's file is asked first: a damaged status must not make a service that nobody can delete.
        if pid := super().leader():
            return pid
        with contextlib.suppress(FileNotFoundError, StorageError):
            status = self.read_status()
            return status.supervisor if status else None
        return None

    def read_spec(self) -> Spec:
        """Raises FileNotFoundError when there is no such service, StorageError when the file is damaged."""
        return read(Spec, self.path / "service.json", self._advice)

    def write_spec(self, spec: Spec) -> None:
        write(self.path / "service.json", spec)

    def read_status(self) -> Status | None:
        """None before the supervisor has said anything."""
        try:
            return read(Status, self.path / "status.json", self._advice)
        except FileNotFoundError:
            return None

    def write_status(self, status: Status) -> None:
        write(self.path / "status.json", status)

    @property
    def _advice(self) -> str:
        return f"delete the service and deploy it again: fieldwave services delete {self.name}"
