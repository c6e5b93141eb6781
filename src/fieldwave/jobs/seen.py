"""What a job's files say, and what they do not say any more: that its processes were killed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from fieldwave.errors import FieldwaveError, StorageError
from fieldwave.jobs.job import load_work, workspace_of
from fieldwave.jobs.state import ENDED, JobFolder, Status

__all__ = ["broken_off", "runs", "seen"]

_GONE = "its processes were killed, or the machine was restarted; start it again"


def seen(folder: JobFolder) -> Status | None:
    """How the job is; None when there is none."""
    try:
        status = folder.read_status()
        if status is not None and status.state in ENDED:
            return status
        # The lock, and then the status again: a supervisor writes its last one before it lets go.
        if folder.is_alive:
            return folder.read_status() or Status("NotStarted")
        status = folder.read_status() or Status("NotStarted")
        if status.state in ENDED:
            return status
        if not folder.path.is_dir():
            return None
        status = broken_off(folder, status, _GONE)
        with suppress(StorageError):
            folder.write_status(status)
        return status
    except FileNotFoundError:
        return None
    except StorageError as error:
        return Status("Failed", error=str(error))


def runs(folder: JobFolder) -> bool:
    """Whether a process still works on the job; not when it has said how it ended and is just about to go."""
    if not folder.is_alive:
        return False
    with suppress(StorageError):
        status = folder.read_status()
        return status is None or status.state not in ENDED
    return True


def broken_off(folder: JobFolder, status: Status, reason: str) -> Status:
    """The last status of a job whose worker did not say how it ended.

    It succeeded all the same where its result was stored before that. So what a job made is never there unknown.
    """
    ended = replace(status, state="Cancelled" if folder.is_cancelled else "Failed", pid=None)
    if not status.committing:
        return replace(ended, error="" if folder.is_cancelled else reason)
    spec = folder.read_spec()
    try:
        result = load_work(spec.work).settle(workspace_of(folder, spec), spec)
    except FieldwaveError as error:
        return replace(
            ended, state="Failed", error=f"{reason}; whether its result was stored cannot be told: {error}"
        )
    if result:
        return replace(ended, state="Succeeded", result=result)
    return replace(ended, error="" if folder.is_cancelled else reason)
