"""Clearing away what is old, and what dead processes left behind."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fieldwave.jobs.seen import runs
from fieldwave.jobs.state import JobFolder
from fieldwave.processes.appear import clear_abandoned, disappear

__all__ = ["KEEP_DAYS", "clear", "is_id", "older_than"]

KEEP_DAYS = 90.0
"""How long jobs are kept; the log of one that succeeded stays with its result."""


def clear(jobs: Path) -> None:
    """Remove jobs that were begun more than `KEEP_DAYS` ago and have ended, and what killed ones left."""
    clear_abandoned(jobs)
    for folder in older_than(jobs, KEEP_DAYS):
        disappear(folder.path)
    for name in os.listdir(jobs):
        folder = JobFolder(jobs / name)
        if is_id(name) and folder.work.exists() and not folder.is_alive:
            shutil.rmtree(folder.work, ignore_errors=True)


def older_than(jobs: Path, days: float) -> list[JobFolder]:
    """Jobs that were begun so long ago and do not run. Their names say when: nothing is read for the others."""
    limit = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y%m%d-%H%M%S")
    try:
        names = sorted(name for name in os.listdir(jobs) if is_id(name) and name < limit)
    except FileNotFoundError:
        return []
    return [folder for name in names if not runs(folder := JobFolder(jobs / name))]


def is_id(name: str) -> bool:
    """Whether a job may be called so."""
    day, _, rest = name.partition("-")
    return len(name) == 21 and day.isdecimal() and rest[:6].isdecimal() and rest[6] == "-"
