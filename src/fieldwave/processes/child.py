"""A process that is watched: it ends with who watches it, and how it ended is told in words."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["die_with_parent", "exit_text", "one_line", "outlive_parent"]

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LONGEST = 500
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """In the new process, before it becomes another program: have the kernel end it with its parent.

    Linux only; elsewhere a parent that is killed outright leaves its child behind.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != parent:  # it died before we could ask
            os._exit(1)


def outlive_parent() -> None:
    """In that other program: take it back, for one that has to clear up after a parent that was killed."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(0))


def exit_text(code: int) -> str:
    """How a process ended: ``exit code 1``, ``SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def one_line(text: str) -> str:
    """What a process said, fit for an error of one line."""
    line = " ".join(text.split()).removeprefix("error: ")
    return "".join(character if character.isprintable() else "?" for character in line)[:_LONGEST]
