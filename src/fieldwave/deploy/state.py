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

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from fieldwave.errors import StorageError
from fieldwave.files import write_atomically

__all__ = ["ServiceFolder", "Spec", "State", "Status", "now"]

State = Literal["Starting", "Healthy", "Restarting", "Failed", "Stopped"]

_Record = TypeVar("_Record", "Spec", "Status")


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
class ServiceFolder:
    """One service's folder and the files in it."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def package(self) -> Path:
        return self.path / "package.zip"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def log(self) -> Path:
        return self.path / "service.log"

    def read_spec(self) -> Spec:
        """Raises FileNotFoundError when there is no such service, StorageError when the file is damaged."""
        return _read(Spec, self.path / "service.json")

    def write_spec(self, spec: Spec) -> None:
        _write(self.path / "service.json", spec)

    def read_status(self) -> Status | None:
        """None before the supervisor has said anything."""
        try:
            return _read(Status, self.path / "status.json")
        except FileNotFoundError:
            return None

    def write_status(self, status: Status) -> None:
        _write(self.path / "status.json", status)


def now() -> str:
    """The time, as the files have it: ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path, record: Spec | Status) -> None:
    write_atomically(path, json.dumps(dataclasses.asdict(record), indent=2).encode() + b"\n")


def _read(kind: type[_Record], path: Path) -> _Record:
    try:
        content = json.loads(path.read_bytes())
        return _record(kind, content)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        name = path.parent.name
        raise StorageError(
            f"{path} is damaged; delete the service and deploy it again: fieldwave services delete {name}"
        ) from error


def _record(kind: type[_Record], content: Any) -> _Record:
    # Keys that are not known here were written by a newer Fieldwave and are left alone.
    hints = get_type_hints(kind)
    known = {key: value for key, value in dict(content).items() if key in hints}
    for key, value in known.items():
        if not _fits(value, hints[key]):
            raise TypeError(key)
    return kind(**known)


def _fits(value: Any, hint: Any) -> bool:
    if hint == State:
        return value in get_args(State)
    if hint == list[str]:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, hint)
