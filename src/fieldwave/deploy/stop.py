"""Ending a service's processes from outside, and nobody else's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

from fieldwave.deploy.lock import holder, is_held
from fieldwave.deploy.ours import is_ours
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import ServiceError, StorageError

__all__ = ["stop"]

_POLL_SECONDS = 0.01
_KILL_SECONDS = 5.0


def stop(folder: ServiceFolder, timeout: float) -> None:
    """Have the supervisor drain and end its serving process; after ``timeout`` seconds kill both.

    Returns when neither is there any more; at once when they were not.

    Raises:
        ServiceError: they cannot be ended.
    """
    if _told(folder, signal.SIGTERM, timeout):
        return
    if _told(folder, signal.SIGKILL, _KILL_SECONDS):
        return
    raise ServiceError(
        f"service {folder.name!r} does not end (supervisor: process {_supervisor(folder) or 'unknown'}); "
        "try again in a moment"
    )


def _told(folder: ServiceFolder, number: signal.Signals, timeout: float) -> bool:
    """Send a signal as soon as it is known to whom; whether the service has ended in time."""
    deadline = time.monotonic() + timeout
    sent = False
    while is_held(folder.lock):
        sent = sent or _send(folder, number)
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _send(folder: ServiceFolder, number: signal.Signals) -> bool:
    supervisor = _supervisor(folder)
    if supervisor is None:
        return False
    try:
        with _held(supervisor) as send:
            # Asked again while the process is held: now the number can be nobody else's.
            if not is_held(folder.lock):
                return True
            if not is_ours(folder, supervisor):
                raise ServiceError(
                    f"service {folder.name!r} is run by another machine or container; delete it there"
                )
            if number == signal.SIGKILL:
                os.killpg(supervisor, number)
            else:
                send(number)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise ServiceError(
            f"service {folder.name!r} belongs to another user, who must delete it (process {supervisor})"
        ) from error
    return True


def _supervisor(folder: ServiceFolder) -> int | None:
    # The lock's file is asked first: a damaged status must not make a service that nobody can delete.
    if pid := holder(folder.lock):
        return pid
    with contextlib.suppress(FileNotFoundError, StorageError):
        status = folder.read_status()
        return status.supervisor if status else None
    return None


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
