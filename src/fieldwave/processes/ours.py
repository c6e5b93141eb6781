"""Whether a process that a folder's files name is that folder's, here and now."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["is_ours"]


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
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return os.fsencode(folder) in command
