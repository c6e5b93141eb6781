"""Ending a folder's processes from outside, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from fieldwave.processes.folder import ProcessFolder
from fieldwave.processes.ours import is_ending, is_ours

__all__ = ["stop", "tell"]

_POLL_SECONDS = 0.01
_KILL_SECONDS = 5.0


def stop(folder: ProcessFolder, timeout: float) -> None:
    """Have the folder's process end what it looks after and itself; after ``timeout`` seconds kill them.

    Returns when none is there any more; at once when they were not.

    Raises:
        FieldwaveError: of the folder's kind: they cannot be ended.
    """
    if _told(folder, signal.SIGTERM, timeout):
        return
    if _told(folder, signal.SIGKILL, _KILL_SECONDS):
        return
    raise folder.failure(
        f"{folder.kind} {folder.name!r} does not end (supervisor: process {folder.leader() or 'unknown'}); "
        "try again in a moment"
    )


def tell(folder: ProcessFolder, number: signal.Signals) -> bool:
    """Send a signal to the folder's process, and to nobody else; False while it is not known which that is.

    Raises:
        FieldwaveError: of the folder's kind: it cannot be told.
    """
    supervisor = folder.leader()
    if supervisor is None:
        return False
    try:
        with _held(supervisor) as send:
            # Asked again while the process is held: now the number can be nobody else's.
            if not folder.is_alive:
                return True
            if not is_ours(folder.path, supervisor):
                if is_ending(supervisor):
                    return False  # the next look finds it gone
                raise folder.failure(
                    f"{folder.kind} {folder.name!r} is run by another machine or container; "
                    f"{folder.ending} it there"
                )
            if number == signal.SIGKILL:
                os.killpg(supervisor, number)
            else:
                send(number)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise folder.failure(
            f"{folder.kind} {folder.name!r} belongs to another user, "
            f"who must {folder.ending} it (process {supervisor})"
        ) from error
    return True


def _told(folder: ProcessFolder, number: signal.Signals, timeout: float) -> bool:
    """Send a signal as soon as it is known to whom; whether the service has ended in time."""
    deadline = time.monotonic() + timeout
    sent = False
    while folder.is_alive:
        sent = sent or tell(folder, number)
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """A way to signal this very process, even when its number is given to another in the meantime (pidfd)."""
    if sys.platform != "linux":
        yield lambda number: os.kill(pid, number)
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield lambda number: signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
