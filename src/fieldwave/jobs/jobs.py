"""The jobs of a workspace: list, find, delete."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldwave.errors import ConflictError, InputError, NotFoundError, StorageError
from fieldwave.jobs.clear import is_id, older_than
from fieldwave.jobs.operation import Operation, Snapshot
from fieldwave.jobs.seen import runs
from fieldwave.jobs.state import JobFolder
from fieldwave.processes.appear import disappear
from fieldwave.workspace import Workspace

__all__ = ["Jobs"]

_NAMED = 5


class Jobs:
    """The jobs of one workspace.

    Parameters:
        workspace: where they are kept; found from the working directory if not given.
    """

    def __init__(self, workspace: Workspace | None = None) -> None:
        self.workspace = workspace or Workspace.find()

    def list(self, last: int | None = None) -> list[Snapshot]:
        """The jobs as they are now, oldest first; the ``last`` ones where a number is given."""
        names = self._names()
        found = []
        for name in names if last is None else names[len(names) - min(last, len(names)) :]:
            try:
                found.append(Operation[Any](JobFolder(self._folder / name)).snapshot())
            except NotFoundError:  # deleted just now
                continue
            except StorageError as error:
                found.append(Snapshot(name, "Failed", error=str(error)))
        return found

    def get(self, name: str = "") -> Operation[Any]:
        """The job of that name, or the only one whose name begins or ends so; the newest where it is empty.

        Raises:
            NotFoundError: there is none.
            InputError: there are several.
        """
        names = self._names()
        if not names:
            raise NotFoundError(f"no jobs in {self.workspace.root}")
        if name in names or not name:
            return Operation(JobFolder(self._folder / (name or names[-1])))
        fitting = [one for one in names if one.startswith(name) or one.endswith(name)]
        if not fitting:
            newest = ", ".join(names[-_NAMED:])
            raise NotFoundError(f"no job {name!r} in {self.workspace.root}; the newest are {newest}")
        if len(fitting) > 1:
            raise InputError(f"{len(fitting)} jobs begin or end with {name!r}: {', '.join(fitting[-_NAMED:])}")
        return Operation(JobFolder(self._folder / fitting[0]))

    def users(self, reference: str) -> Sequence[str]:
        """The jobs that run and need what has this reference, each in words: ``job 20250102-030405-8c91f``."""
        folders = [JobFolder(self._folder / name) for name in self._names()]
        found = []
        for folder in filter(runs, folders):
            with suppress(FileNotFoundError, StorageError):
                if reference in folder.read_spec().uses:
                    found.append(f"job {folder.name}")
        return found

    def delete(self, job: Operation[Any]) -> None:
        """Remove a job's files; what it made stays.

        Raises:
            ConflictError: it runs.
            StorageError: they cannot be removed.
        """
        folder = JobFolder(job.folder)
        if runs(folder):
            raise ConflictError(f"job {folder.name} runs; cancel it first: fieldwave jobs cancel {folder.name}")
        disappear(folder.path)

    def delete_older(self, days: float) -> Sequence[str]:
        """Remove the jobs that were begun so long ago, except those that run; the names of the removed."""
        folders = older_than(self._folder, days)
        for folder in folders:
            disappear(folder.path)
        return [folder.name for folder in folders]

    @property
    def _folder(self) -> Path:
        return self.workspace.folder / "jobs"

    def _names(self) -> Sequence[str]:
        try:
            return sorted(name for name in os.listdir(self._folder) if is_id(name))
        except FileNotFoundError:
            return []
