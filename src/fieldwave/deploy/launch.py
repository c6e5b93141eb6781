"""Starting a supervisor that outlives whoever starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import fieldwave
from fieldwave.deploy.log import last_lines
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import ServiceError

__all__ = ["SERVE_COMMAND", "launch"]

# -P: a file of the user's that is called like a library is not to be imported in its place.
SERVE_COMMAND = [sys.executable, "-P", "-m", "fieldwave.deploy.serve_process"]
_SUPERVISE_COMMAND = [sys.executable, "-P", "-m", "fieldwave.deploy.supervisor"]


def launch(folder: ServiceFolder, inherited: Sequence[int]) -> None:
    """Start the supervisor of the service in ``folder``; it keeps the ``inherited`` descriptors open.

    It has a session of its own and nothing of the caller's but the environment: closing the shell, Ctrl-C in it
    and the end of the caller do not touch it, and it holds no terminal, pipe or folder of theirs.

    Raises:
        ServiceError: the interpreter did not start.
    """
    with folder.log.open("ab") as log:
        first = subprocess.Popen(
            [*_SUPERVISE_COMMAND, str(folder.path)],
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=inherited,
        )
    if first.wait() != 0:
        said = last_lines(folder.log, 1)
        raise ServiceError(f"the supervisor of {folder.name!r} did not start: {said[-1] if said else '?'}")


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment["PYTHONUNBUFFERED"] = "1"  # lines reach the log when they are printed
    environment["PYTHONPATH"] = os.pathsep.join(_search_path(environment.get("PYTHONPATH", "")))
    return environment


def _search_path(given: str) -> list[str]:
    # The supervisor lives in / so as not to hold the caller's folder; relative entries meant that folder.
    entries = [os.path.abspath(entry) for entry in given.split(os.pathsep) if entry]
    # And it is to run the very Fieldwave that the caller has imported, by whatever way, unless it is installed.
    own = Path(fieldwave.__file__).resolve().parents[1]
    if str(own) not in entries and own.name not in ("site-packages", "dist-packages"):
        entries.append(str(own))
    return entries
