"""A job from outside: how far it is, what it says, what it made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, cast

from fieldwave.errors import ConflictError, JobError, NotFoundError
from fieldwave.jobs.job import load_work, workspace_of
from fieldwave.jobs.seen import seen
from fieldwave.jobs.state import ENDED, JobFolder, State
from fieldwave.processes.log import follow as follow_log
from fieldwave.processes.log import last_lines
from fieldwave.processes.stop import stop

__all__ = ["Operation", "Snapshot"]

Result = TypeVar("Result", covariant=True)

_FIRST_POLL_SECONDS = 0.02
_LONGEST_POLL_SECONDS = 0.5
_WHOLE = 1 << 30  # lines


@dataclass(frozen=True)
class Snapshot:
    """A job as it was when it was asked for.

    Attributes:
        state: NotStarted, Running, Succeeded, Failed, Cancelled or TimedOut.
        kind: ``convert``, say.
        about: what it works on: ``digits:3``.
        stage: what is being done, or was done last.
        share: the part of the stage that is done, 0 to 1.
        stages: the stages so far, each with the seconds that it took.
        created, started, ended: ISO 8601 in UTC; empty before.
        error: why it did not succeed; else empty.
        reference: of the result, ``digits-int8:1@sha256:...``; empty where there is none.
        pid: process id of what works, None while there is none.
    """

    id: str
    state: State
    kind: str = ""
    about: str = ""
    stage: str = ""
    share: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    created: str = ""
    started: str = ""
    ended: str = ""
    error: str = ""
    reference: str = ""
    pid: int | None = None


class Operation(Generic[Result]):
    """A job that runs, or ran, in a process of its own. Any process that finds the workspace sees the same.

    It is asked anew each time; `snapshot` answers everything at once.
    """

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"Operation({self.id!r})"

    @property
    def id(self) -> str:
        """What every command finds it by: ``20250102-030405-8c91f``."""
        return self._folder.name

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self._folder.path

    def snapshot(self) -> Snapshot:
        """All that there is to say of it now. Raises NotFoundError when it was deleted."""
        status = seen(self._folder)
        if status is None:
            raise NotFoundError(f"job {self.id} was deleted")
        try:
            spec = self._folder.read_spec()
        except FileNotFoundError:
            raise NotFoundError(f"job {self.id} was deleted") from None
        return Snapshot(
            id=self.id,
            state=status.state,
            kind=spec.kind,
            about=spec.about,
            stage=status.stage,
            share=status.share,
            stages=status.stages,
            created=spec.created,
            started=status.started,
            ended=status.ended,
            error=status.error,
            reference=status.result,
            pid=status.pid,
        )

    @property
    def state(self) -> State:
        """NotStarted, Running, Succeeded, Failed, Cancelled or TimedOut. Raises NotFoundError when deleted."""
        return self.snapshot().state

    @property
    def progress(self) -> tuple[str, float]:
        """What is being done, and the share of it that is done, 0 to 1."""
        now = self.snapshot()
        return now.stage, now.share

    @property
    def error(self) -> str:
        """Why it did not succeed; empty where it did, or runs."""
        return self.snapshot().error

    @property
    def result(self) -> Result:
        """What it made: of a conversion, the registered model.

        Raises:
            JobError: it has not ended, or did not succeed; the message says why.
            NotFoundError: it was deleted, or what it made was.
        """
        now = self.snapshot()
        if now.state not in ENDED:
            raise JobError(f"job {self.id} is {now.state} and has no result yet; wait_for_completion() waits")
        if now.state != "Succeeded":
            raise JobError(
                f"job {self.id} is {now.state}{f': {now.error}' if now.error else ''}; "
                f"see fieldwave jobs logs {self.id}"
            )
        spec = self._folder.read_spec()
        return cast(Result, load_work(spec.work).result(workspace_of(self._folder, spec), now.reference))

    def logs(self, *, lines: int | None = None, follow: bool = False) -> Iterator[str]:
        """The log: the last ``lines`` lines, or all; with ``follow`` each new one too, until it ends.

        Raises:
            NotFoundError: the job was deleted.
        """
        self.snapshot()
        wanted = _WHOLE if lines is None else lines
        if follow:
            return follow_log(self._folder.log, wanted, self._has_ended)
        return iter(last_lines(self._folder.log, wanted))

    def wait_for_completion(
        self, show_output: bool = False, timeout: float | None = None, write: Callable[[str], object] = print
    ) -> bool:
        """Wait until it has ended, and tell whether it succeeded.

        Whoever waits may be interrupted or killed; the job goes on.

        Args:
            show_output: write its log as it comes, and how it ended.
            timeout: seconds to wait at most; False is returned when it still runs then.
            write: takes each line of that.

        Raises:
            NotFoundError: it was deleted.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if show_output:
            for line in follow_log(self._folder.log, _WHOLE, lambda: self._has_ended() or _is_over(deadline)):
                write(line)
        pause = _FIRST_POLL_SECONDS
        while (now := self.snapshot()).state not in ENDED and not _is_over(deadline):
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST_POLL_SECONDS)
        if show_output:
            write(f"{now.state}: {now.error or now.reference or now.stage}")
        return now.state == "Succeeded"

    def cancel(self, timeout: float = 30.0) -> State:
        """Have it end, leaving nothing of it but its log, and tell how it ended.

        That is Succeeded where the result was just being stored: then it is there, whole.

        Args:
            timeout: seconds until its processes are killed.

        Raises:
            ConflictError: it has ended before.
            NotFoundError: it was deleted.
            JobError: it does not end.
        """
        if (state := self.state) in ENDED:
            raise ConflictError(f"job {self.id} is {state} already; there is nothing to cancel")
        self._folder.cancel()
        if not self._ends_within(timeout):
            stop(self._folder, 0.0)
        return self.state

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._folder.is_alive:
            if _is_over(deadline):
                return False
            time.sleep(_FIRST_POLL_SECONDS)
        return True

    def _has_ended(self) -> bool:
        status = seen(self._folder)
        return status is None or status.state in ENDED


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
