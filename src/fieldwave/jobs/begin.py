"""Starting a job."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from fieldwave.errors import InputError
from fieldwave.jobs.clear import clear
from fieldwave.jobs.operation import Operation
from fieldwave.jobs.state import JobFolder, Spec, new_id
from fieldwave.processes.appear import appear, disappear, draft
from fieldwave.processes.launch import launch, python
from fieldwave.processes.lock import take
from fieldwave.processes.records import now
from fieldwave.workspace import Workspace

__all__ = ["start"]

_COMMAND = python("fieldwave.jobs.supervisor")


def start(
    workspace: Workspace,
    *,
    kind: str,
    work: str,
    arguments: Mapping[str, Any],
    about: str = "",
    uses: Sequence[str] = (),
    timeout: float | None = None,
) -> Operation[Any]:
    """Have a module do its work in a process of its own, and return at once.

    Parameters:
        workspace: where the job is kept.
        kind: a word for people: ``convert``.
        work: the name of a module of Fieldwave that is a `Work`.
        arguments: what it is given, as JSON has it.
        about: what it works on, for people: ``digits:3``.
        uses: references of models and images that must not be deleted while it runs.
        timeout: seconds after which it is ended; None for no end.

    Raises:
        InputError: a timeout that is none.
        JobError: it did not start; nothing of it is left.
        StorageError: its folder cannot be written.
    """
    if timeout is not None and not timeout > 0:
        raise InputError(f"the timeout is {timeout:g} s; give a positive number of seconds, or none")
    jobs = workspace.create_folder("jobs")
    clear(jobs)
    with ExitStack() as stack:
        folder = JobFolder(draft(jobs, "job"))
        stack.callback(shutil.rmtree, folder.path, ignore_errors=True)
        lock = take(folder.lock)
        stack.callback(os.close, lock)
        spec = Spec(
            id=new_id(),
            kind=kind,
            about=about,
            work=work,
            arguments=dict(arguments),
            created=now(),
            timeout=None if timeout is None else float(timeout),
            root=str(workspace.root),
            folder=str(workspace.folder),
            uses=list(uses),
        )
        folder.write_spec(spec)
        while (path := appear(folder.path, spec.id)) is None:
            spec = replace(spec, id=new_id())
            folder.write_spec(spec)
        try:
            launch(_COMMAND, JobFolder(path), [lock])
        except BaseException:
            disappear(path)
            raise
    return Operation(JobFolder(path))
