"""Whether a process that a folder's files name is that folder's, here and now."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["is_ending", "is_ours"]


def is_ours(folder: Path, pid: int) -> bool:
    """Whether the process is one of this folder's: they have it on their command line.

    Files and locks are seen from other containers and machines that share the folder, where the number is another
    process's; and a number is given again to another process when its own has ended.

    Raises:
        ProcessLookupError: there is no such process. One that ended and is not waited for yet is not ours.
    """
    if sys.platform != "linux":
        with contextlib.suppress(PermissionError):  # it is there, and another user's
            os.kill(pid, 0)
        return True
    return os.fsencode(folder) in _command(pid).split(b"\0")


def is_ending(pid: int) -> bool:
    """Whether the process is on its way out: its memory is gone, and its locks may not be yet.

    Raises:
        ProcessLookupError: it is out.
    """
    return sys.platform == "linux" and not _command(pid)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
