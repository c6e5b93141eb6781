"""A job as its work sees it: what it was asked, where it may write, whom it tells."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from fieldwave.errors import StorageError
from fieldwave.jobs.state import JobFolder, Spec
from fieldwave.processes.log import content
from fieldwave.processes.records import now
from fieldwave.processes.report import say
from fieldwave.version import __version__
from fieldwave.workspace import Workspace

__all__ = ["Job", "Work", "load_work", "workspace_of"]

_SAY_SECONDS = 0.2
_LOG_SECONDS = 5.0
_COMMIT_SECONDS = 30.0
_POLL_SECONDS = 0.01


class Work(Protocol):
    """A module that does the work of jobs."""

    def run(self, job: Job) -> str:
        """Do it, and return the reference of the result; what it raises is why the job failed.

        It writes into the job's folder alone until it calls `Job.commit`, and what it stores after that names the
        job, so that `settle` finds it.
        """

    def settle(self, workspace: Workspace, spec: Spec) -> str:
        """The reference of a result that was stored before the worker was killed; empty where there is none."""

    def result(self, workspace: Workspace, reference: str) -> Any:
        """What a reference stands for, for who asks for the result. Raises NotFoundError when it was deleted."""


class Job:
    """What the work has of its job.

    Attributes:
        id: of the job.
        workspace: where it was started.
        arguments: as they were given.
        folder: a folder of its own, which is gone when the job has ended.
    """

    def __init__(self, folder: JobFolder, spec: Spec) -> None:
        self.id = spec.id
        self.workspace = workspace_of(folder, spec)
        self.arguments: Mapping[str, Any] = spec.arguments
        self.folder = folder.work
        self._files = folder
        self._stage = ""
        self._next = 0.0

    def progress(self, stage: str, share: float) -> None:
        """Tell what is being done and the share of it that is done, 0 to 1."""
        if stage != self._stage:
            self.log(stage)
        elif time.monotonic() < self._next and share < 1:
            return
        self._stage, self._next = stage, time.monotonic() + _SAY_SECONDS
        say(stage=stage, share=share)

    def log(self, text: str) -> None:
        """A line of the log, with the time."""
        print(f"{now()} {text}", flush=True)

    def commit(self) -> None:
        """From here on the result is stored: the job is neither cancelled nor timed out any more.

        It returns when that is written down, so that who finds the job dead knows to look for its result.

        Raises:
            StorageError: it cannot be written down.
        """
        say(commit=True)
        deadline = time.monotonic() + _COMMIT_SECONDS
        while not ((status := self._files.read_status()) and status.committing):
            if time.monotonic() >= deadline:
                raise StorageError(f"cannot write to {self._files.path}; nothing was stored")
            time.sleep(_POLL_SECONDS)

    def log_so_far(self, last: str) -> bytes:
        """The log, ``last`` being its last line: to be kept with the result."""
        self.log(last)
        wanted, deadline = last.encode(), time.monotonic() + _LOG_SECONDS
        # The line goes to the supervisor through a pipe, and from there to the file.
        while wanted not in (log := content(self._files.log)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return log


def workspace_of(folder: JobFolder, spec: Spec) -> Workspace:
    """The workspace that a job's folder lies in, also when that was moved or copied since."""
    state = folder.path.parents[1]
    if state == Path(spec.folder):
        return Workspace(Path(spec.root), state)
    return Workspace(state.parent if state.name == ".fieldwave" else state, state)


def load_work(module: str) -> Work:
    """The module that does the work; one of ours, for the name comes from a file.

    Raises:
        StorageError: it is none.
    """
    if module.startswith("fieldwave."):
        try:
            return cast(Work, importlib.import_module(module))
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise StorageError(f"the job's work {module!r} is unknown to Fieldwave {__version__}; delete the job")
