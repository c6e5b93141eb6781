"""The files of a job: the state of record, read by every process that asks.

::

    <workspace>/jobs/<id>/
        job.json      what was asked for (Spec); written once, before the folder gets its name
        status.json   what is (Status); the supervisor replaces it whole at every change
        lock          held by the supervisor for its life: whether it runs is read off this lock; its process id
        cancel        there when somebody wants the job to end
        job.log       the output of the worker; job.log.1 is the part before
        work/         what the worker makes on its way; gone when the job has ended

A folder appears under its name complete, and disappears whole (both by rename), so nobody sees a half of one.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from fieldwave.errors import FieldwaveError, JobError, StorageError
from fieldwave.processes import ProcessFolder
from fieldwave.processes.records import read, write

__all__ = ["ENDED", "JobFolder", "Spec", "State", "Status", "new_id"]

State = Literal["NotStarted", "Running", "Succeeded", "Failed", "Cancelled", "TimedOut"]
ENDED: tuple[State, ...] = ("Succeeded", "Failed", "Cancelled", "TimedOut")


@dataclass(frozen=True)
class Spec:
    """What was asked for.

    Attributes:
        about: what the job works on, for people: ``digits:3``.
        work: the module that does it; see `Work`.
        arguments: of the work, as JSON has them.
        created: when it was asked for, ISO 8601 in UTC.
        timeout: seconds after which it is ended; None for no end.
        root, folder: of the workspace.
        uses: references of what must not be deleted while it runs, ``digits:3@sha256:...``.
    """

    id: str
    kind: str
    about: str
    work: str
    arguments: dict[str, Any]
    created: str
    timeout: float | None
    root: str
    folder: str
    uses: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Status:
    """What is, as its supervisor knows it.

    Attributes:
        stage: what is being done, or was done last.
        share: the part of the stage that is done, 0 to 1.
        stages: the stages so far, each with the seconds that it took, in order.
        committing: the result is being stored: from here on the job is not broken off.
        started, ended: ISO 8601 in UTC; empty before.
        error: why it did not succeed, in one line.
        result: the reference of what it made.
        pid: process id of the worker; None while there is none.
    """

    state: State
    stage: str = ""
    share: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    committing: bool = False
    started: str = ""
    ended: str = ""
    error: str = ""
    result: str = ""
    pid: int | None = None


@dataclass(frozen=True)
class JobFolder(ProcessFolder):
    """One job's folder and the files in it."""

    kind: ClassVar[str] = "job"
    ending: ClassVar[str] = "cancel"
    failure: ClassVar[type[FieldwaveError]] = JobError

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody wants it to end."""
        return (self.path / "cancel").exists()

    def cancel(self) -> None:
        """Have it end: its supervisor looks several times a second, on whatever machine it runs.

        Raises:
            StorageError: its folder cannot be written.
        """
        try:
            (self.path / "cancel").touch()
        except OSError as error:
            raise StorageError(f"cannot write to {self.path}: {error.strerror or error}") from error

    def read_spec(self) -> Spec:
        """Raises FileNotFoundError when there is no such job, StorageError when the file is damaged."""
        return read(Spec, self.path / "job.json", self._advice)

    def write_spec(self, spec: Spec) -> None:
        write(self.path / "job.json", spec)

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
        return f"delete the job and start it again: fieldwave jobs delete {self.name}"


def new_id() -> str:
    """A name that no other job has, in the order of time: ``20250102-030405-8c91f``."""
    moment = datetime.now(UTC)
    fraction = moment.microsecond * 4096 // 1_000_000
    return f"{moment:%Y%m%d-%H%M%S}-{fraction:03x}{secrets.randbelow(256):02x}"
