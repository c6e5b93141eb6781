"""The files of a service: the state of record, read by every process that asks.

::

    <workspace>/services/<name>/
        service.json    what is to be (Spec); the supervisor replaces it whole when a change has succeeded
        package.zip     the package that is served, a copy; after a change its name has the change's number in it
    also.1.zip      another that takes turns with it on the device, where there is one
        status.json     what is (Status); the supervisor replaces it whole whenever that differs
        lock            held by the supervisor for its life: whether it runs is read off this lock; its process id
        service.log     the output of the serving processes; service.log.1 is the part before
        keys/           the two keys, where callers need one
        change/         a change that is asked for (change.json, service.json, package.zip), until it is done

A folder appears under its name complete, and disappears whole (both by rename), so nobody sees a half of one.
That goes for ``change/`` too: of several who ask for a change at the same time one gets it, and from then on the
supervisor alone decides whether it succeeds.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from fieldwave.errors import StorageError
from fieldwave.processes import ProcessFolder
from fieldwave.processes.records import now, read, write

__all__ = ["Change", "Life", "ReplicaStatus", "ServiceFolder", "Shared", "Spec", "Status", "now"]

PACKAGE = "package.zip"

Life = Literal["Starting", "Waiting", "Healthy", "Unhealthy", "Restarting", "Failed", "Stopped"]


@dataclass(frozen=True)
class Shared:
    """A package that takes turns with the first on the device.

    Attributes:
        file: in the service's folder.
        package: its digest, ``sha256:...``.
        model: the registered model that it is, ``name:version@digest``; empty where it was a file.
    """

    file: str
    network: str
    package: str
    model: str = ""


@dataclass(frozen=True)
class Spec:
    """What is to be.

    Attributes:
        port: of the first replica; the others have free ones.
        package: digest of the package, ``sha256:...``.
        created: when it was deployed, ISO 8601 in UTC.
        command: the serving process's command line; the service's folder is added to it.
        replicas: how many processes serve.
        file: the package's, in the service's folder.
        when_busy: what the first process does when its device is held: ``refuse``, ``wait``, ``replace``.
        model, image: what it was deployed from, ``name:version@digest``; empty where it was a file.
        keys: whether callers need a key.
        tls_cert, tls_key, client_ca: paths of the files for TLS; empty for none.
        ca: path of what clients are to trust; empty without TLS.
        container: the image that runs, as podman calls it; empty where the service is a process of this machine.
        http_port: for REST and metrics, of the first replica; 0 for a free one, which the status says; None for
            none.
        socket: path of the Unix socket on which the first replica listens as well; empty for none.
        also: the packages that take turns with the first.
    """

    name: str
    network: str
    device: str
    host: str
    port: int
    package: str
    created: str
    command: list[str]
    replicas: int = 1
    file: str = PACKAGE
    when_busy: str = "refuse"
    model: str = ""
    image: str = ""
    keys: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    ca: str = ""
    container: str = ""
    http_port: int | None = None
    socket: str = ""
    also: list[Shared] = field(default_factory=list)


@dataclass(frozen=True)
class ReplicaStatus:
    """What one replica is, as the supervisor knows it.

    Attributes:
        http_port: for REST and metrics; 0 for none, or while it is not known.
        life: Starting, Waiting (for a device that others hold), Healthy, Unhealthy (it is there and does not
            answer, or its device does not), Restarting (it died), Failed (it keeps dying before it is ready),
            Stopped.
        pid: process id of the serving process; None while there is none.
        restarts: how often a serving process has died and was to be started again.
        started: when the serving process was started last, ISO 8601 in UTC.
        last_exit: how the serving process ended last: ``exit code 1``, ``SIGKILL``; empty if it never did.
        reason: why it is not Healthy, in its own words where it had any; stays after it is again.
    """

    port: int
    life: Life = "Starting"
    pid: int | None = None
    restarts: int = 0
    started: str = ""
    last_exit: str = ""
    reason: str = ""
    http_port: int = 0


@dataclass(frozen=True)
class Status:
    """What is, as its supervisor knows it.

    Attributes:
        supervisor: process id of the supervisor, which leads a process group of that number.
        replicas: the first has the service's own port.
        stopped: the supervisor has ended in order.
        changing: the change that is under way, in words; empty when there is none.
        change: the number of the last change that was dealt with.
        refused: why that change did not succeed; empty when it did.
    """

    supervisor: int
    replicas: list[ReplicaStatus] = field(default_factory=list)
    stopped: bool = False
    changing: str = ""
    change: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Change:
    """A change that is asked for.

    Attributes:
        number: unlike that of any other change.
        what: in words: ``updates to sha256:...``.
        timeout: seconds after which it has failed.
    """

    number: str
    what: str
    timeout: float


@dataclass(frozen=True)
class ServiceFolder(ProcessFolder):
    """One service's folder and the files in it."""

    kind: ClassVar[str] = "service"
    ending: ClassVar[str] = "delete"

    @property
    def keys(self) -> Path:
        """The folder of its keys."""
        return self.path / "keys"

    @property
    def change(self) -> Path:
        """The folder of the change that is asked for."""
        return self.path / "change"

    def package(self, spec: Spec) -> Path:
        """The package's file."""
        return self.path / spec.file

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

    def read_change(self) -> tuple[Change, Spec]:
        """The change that is asked for, and what is to be then; raises as `read_spec`."""
        advice = "ask for the change again"
        return read(Change, self.change / "change.json", advice), read(Spec, self.change / "service.json", advice)

    def write_change(self, path: Path, change: Change, spec: Spec) -> None:
        """Write them into ``path``, which is to become the folder of the change."""
        write(path / "service.json", spec)
        write(path / "change.json", change)

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
