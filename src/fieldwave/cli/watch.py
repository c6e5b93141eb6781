"""Watching a job until it ends."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fieldwave.cli import output
from fieldwave.errors import JobError

if TYPE_CHECKING:
    from fieldwave.jobs import Operation, Snapshot

__all__ = ["show_result", "took", "watch"]

_POLL_SECONDS = 0.1


def watch(operation: Operation[Any], timeout: float | None = None, show_output: bool = False) -> None:
    """Show how far a job is until it has ended. Ctrl-C ends the watching, not the job.

    Raises:
        JobError: it still runs after ``timeout`` seconds.
    """
    from fieldwave.jobs import ENDED

    try:
        if show_output:
            operation.wait_for_completion(True, timeout, lambda line: output.data(output.plain(line)))
        else:
            _bar(operation, timeout)
    except KeyboardInterrupt:
        output.note(f"job {operation.id} goes on; fieldwave jobs cancel {operation.id} ends it")
        output.hint(f"fieldwave jobs wait {operation.id}")
        raise
    now = operation.snapshot()
    if now.state not in ENDED:
        raise JobError(f"job {operation.id} is still {now.state} after {timeout:g} s ({now.stage}); it goes on")


def _bar(operation: Operation[Any], timeout: float | None) -> None:
    from fieldwave.jobs import ENDED

    deadline = None if timeout is None else time.monotonic() + timeout
    with output.progress() as progress:
        while (now := operation.snapshot()).state not in ENDED:
            if deadline is not None and time.monotonic() >= deadline:
                return
            progress(now.stage or "starting", now.share)
            time.sleep(_POLL_SECONDS)


def show_result(operation: Operation[Any], as_json: bool) -> None:
    """Print what a job made.

    Raises:
        JobError: it did not succeed.
    """
    now = operation.snapshot()
    if as_json:
        output.to_json(asdict(now))
    if now.state != "Succeeded":
        operation.result  # noqa: B018  # raises, saying why
    if not as_json:
        reference, _, digest = now.reference.partition("@")
        output.data(f"{reference}  {digest}  {took(now)}")
    if now.kind == "convert":
        output.hint(f"fieldwave services deploy {now.reference.partition('@')[0]}")
    elif now.kind == "image":
        output.hint(f"fieldwave images show {now.reference.partition('@')[0]}")


def took(job: Snapshot) -> str:
    """How long a job has run, or ran, for people; empty where that is not known."""
    if not job.started or (not job.ended and job.state != "Running"):
        return ""
    end = _moment(job.ended) if job.ended else datetime.now(UTC)
    seconds = max(0, round((end - _moment(job.started)).total_seconds()))
    minutes, rest = divmod(seconds, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
