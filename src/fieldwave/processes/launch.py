"""Starting a process that outlives whoever starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fieldwave.errors import StorageError
from fieldwave.processes.folder import ProcessFolder
from fieldwave.processes.log import last_lines

__all__ = ["belong_to_nobody", "launch", "python"]


def python(module: str) -> list[str]:
    """The command line that runs a module of Fieldwave with this interpreter."""
    # -P: a file of the user's that is called like a library is not to be imported in its place.
    return [sys.executable, "-P", "-m", module]


def launch(command: Sequence[str], folder: ProcessFolder, inherited: Sequence[int]) -> None:
    """Start the process that looks after ``folder``, whose path is added to the command.

    It has a session of its own and nothing of the caller's but the environment and the ``inherited`` descriptors:
    closing the shell, Ctrl-C in it and the end of the caller do not touch it, and it holds no terminal, pipe or
    folder of theirs. It begins with `belong_to_nobody`.

    Raises:
        FieldwaveError: of the folder's kind: the interpreter did not start.
        StorageError: the log cannot be written.
    """
    try:
        log = folder.log.open("ab")
    except OSError as error:
        raise StorageError(f"cannot write {folder.log}: {error.strerror or error}") from error
    with log:
        try:
            first = subprocess.Popen(
                [*command, str(folder.path)],
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=inherited,
            )
        except OSError as error:
            raise folder.failure(
                f"the supervisor of {folder.kind} {folder.name!r} did not start: {error.strerror or error}"
            ) from error
    if first.wait() != 0:
        said = last_lines(folder.log, 1)
        raise folder.failure(
            f"the supervisor of {folder.kind} {folder.name!r} did not start: {said[-1] if said else '?'}"
        )


def belong_to_nobody(run: Callable[[Path], None]) -> None:
    """The main function of such a process: whoever launched it waits for its start alone."""
    if os.fork():
        os._exit(0)  # the other outlives it
    os.setsid()
    run(Path(sys.argv[1]))


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment["PYTHONUNBUFFERED"] = "1"  # lines reach the log when they are printed
    environment["PYTHONPATH"] = os.pathsep.join(_search_path(environment.get("PYTHONPATH", "")))
    return environment


def _search_path(given: str) -> list[str]:
    # The supervisor lives in / so as not to hold the caller's folder; relative entries meant that folder.
    entries = [os.path.abspath(entry) for entry in given.split(os.pathsep) if entry]
    # And it is to run the very Fieldwave that the caller has imported, by whatever way, unless it is installed.
    own = Path(__file__).resolve().parents[2]
    if str(own) not in entries and own.name not in ("site-packages", "dist-packages"):
        entries.append(str(own))
    return entries
