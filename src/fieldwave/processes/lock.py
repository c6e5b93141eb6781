"""Whether something runs, told by a lock that its process holds.

A process id in a file may belong to somebody else by now (ids are used again, machines are restarted); a lock of
flock(2) is let go by the kernel however its holder ends. It belongs to the open file, not to the process, so the
process that launches takes it and the other inherits it: there is no moment in between.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from fieldwave.errors import StorageError

__all__ = ["holder", "inherited", "is_held", "sign", "take"]


def take(path: Path) -> int:
    """Make the file, lock it, and return its descriptor; closing every copy of that lets go.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {error.strerror or error}") from error
    return descriptor


def inherited(path: Path) -> int | None:
    """The descriptor by which this process holds the lock that it was started with."""
    wanted = path.stat()
    for descriptor in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), wanted):
                return descriptor
    return None


def sign(path: Path) -> None:
    """Write this process's id into the lock's file, for `holder`; a full disk is no reason not to go on."""
    with contextlib.suppress(OSError):
        path.write_text(f"{os.getpid()}\n")


def holder(path: Path) -> int | None:
    """The process that signed the lock last, if any did. Whether it still holds it only `is_held` knows."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(path.read_bytes())
        return pid if pid > 0 else None
    return None


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock; False when there is no such file.

    Raises:
        StorageError: it cannot be found out.
    """
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            # Shared, so that two who look at the same time do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        except OSError as error:
            raise StorageError(f"cannot look at the lock {path}: {error.strerror or error}") from error
        return False
