"""The lock files of this machine's NPUs, and what they say of their holders.

One folder for all users and workspaces of the machine, a file for each slot. Its holder has locked it (flock(2)),
so that the kernel frees it however the holder ends, and has written itself into it, for people. The text may be
out of date; the lock never is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from fieldwave.errors import StorageError
from fieldwave.leases.machine import Machine, Slot, read_machine

__all__ = [
    "NOBODY",
    "Holder",
    "SlotState",
    "has_open",
    "is_locked",
    "leases_folder",
    "lock_file",
    "parse_holder",
    "printable",
    "read_holder",
    "read_record",
    "slot_states",
    "try_lock",
    "write_record",
]

_VARIABLE = "FIELDWAVE_LEASES"
_RUN_LOCK = Path("/run/lock")
# Not blocking: a pipe in the place of a file must not keep anybody waiting.
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TRIES = 5
_PAUSE_SECONDS = 0.004
_RECORD_BYTES = 4096
_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class Holder:
    """Who holds a slot, by its own account.

    Attributes:
        name: the service, or whatever has the NPU.
        pid: its process, as its own container numbers it.
        since: when it got the slot, ISO 8601 in UTC.
        token: one of a kind for each lease.
    """

    name: str
    pid: int
    since: str = ""
    token: str = ""

    @classmethod
    def me(cls, name: str) -> Self:
        """This process, from now on."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return cls(name, os.getpid(), now, os.urandom(8).hex())


NOBODY = Holder("(no name)", 0)
"""Whoever holds a slot and has not said who it is."""


@dataclass(frozen=True)
class SlotState:
    """A slot and who holds it; None when it is free."""

    slot: Slot
    holder: Holder | None


def slot_states(machine: Machine | None = None) -> tuple[SlotState, ...]:
    """The slots of this machine as they are now.

    Raises:
        InputError, StorageError: as `read_machine`.
    """
    machine = machine or read_machine()
    return tuple(SlotState(slot, None if machine.given else read_holder(slot)) for slot in machine.slots)


def leases_folder() -> Path:
    """The folder of the lock files, the same for every user; it need not exist.

    ``/run/lock/fieldwave`` where every user may write to ``/run/lock`` or the administrator has made it; else
    ``/tmp/fieldwave-leases``.
    """
    configured = os.environ.get(_VARIABLE)
    if configured:
        return Path(configured)
    folder = _RUN_LOCK / "fieldwave"
    with contextlib.suppress(OSError):
        if folder.is_dir() or _RUN_LOCK.stat().st_mode & stat.S_IWOTH:
            return folder
    return Path("/tmp/fieldwave-leases")


def lock_file(slot: Slot) -> Path:
    """The file that the slot's holder has locked, with its `Holder`."""
    return leases_folder() / slot.name


def try_lock(path: Path) -> int | None:
    """The descriptor of the file, locked; None when somebody else has it.

    Raises:
        StorageError: the file cannot be made, or the file system has no locks.
    """
    try:
        for _ in range(_TRIES):
            descriptor = _open(path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(descriptor, path):
                    return descriptor
            except BlockingIOError:
                # Perhaps only somebody who looks, who is done at once.
                time.sleep(_PAUSE_SECONDS)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {error.strerror or error}") from error
    return None


def is_locked(path: Path) -> bool:
    """Whether somebody has the file locked; False when there is no such file. Raises StorageError."""
    with _looked_at(path) as descriptor:
        return descriptor is not None


def write_record(descriptor: int, record: Mapping[str, Any] | None) -> None:
    """Write into the locked file; a full disk is no reason not to compute."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        if record is not None:
            os.pwrite(descriptor, json.dumps(record).encode(), 0)


def read_record(path: Path) -> bytes:
    """What the file says, locked or not. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        return os.pread(descriptor, _RECORD_BYTES, 0)
    finally:
        os.close(descriptor)


def parse_holder(data: bytes | str) -> Holder:
    """What a lock file says; any user may have written it.

    Raises:
        ValueError: it says nothing that makes sense.
    """
    try:
        said = json.loads(data)
        name, since, token = (printable(str(said[key])) for key in ("name", "since", "token"))
        return Holder(name, int(said["pid"]), since, token)
    except (TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"no holder: {error}") from None


def read_holder(slot: Slot) -> Holder | None:
    """Who holds the slot; None when nobody does. Raises StorageError."""
    with _looked_at(lock_file(slot)) as descriptor:
        return None if descriptor is None else _record(descriptor)


def has_open(pid: int, slot: Slot) -> bool:
    """Whether a process has the slot's file open; what the file says of its holder anybody may have written.

    Raises:
        PermissionError: it is another user's.
    """
    path = lock_file(slot)
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(entry.stat(), path.stat()):
                return True
    return False


@contextlib.contextmanager
def _looked_at(path: Path) -> Iterator[int | None]:
    """The file, to read, if somebody has it locked; else None."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        try:
            # Shared, so that two who look at the same time do not take each other for the holder.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield descriptor
        else:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            yield None
    finally:
        os.close(descriptor)


def _record(descriptor: int) -> Holder:
    for _ in range(_TRIES):
        try:
            return parse_holder(os.pread(descriptor, _RECORD_BYTES, 0))
        except (OSError, ValueError):
            time.sleep(_PAUSE_SECONDS)  # it is being written just now
    return NOBODY


def printable(text: str) -> str:
    """What a file says that any user may have written, short and kept from commanding terminals."""
    return "".join(one if one.isprintable() else "?" for one in text[:_NAME_CHARACTERS])


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the file that is locked is the one that the others see: it may have been removed and made anew."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    # Without O_CREAT first: in a folder for everybody Linux refuses that on another user's file
    # (fs.protected_regular).
    flags = os.O_RDWR | _FLAGS
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # another user was first
            path.parent.chmod(0o1777)
    # It gets its name when it has its rights; whoever is first names it.
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # The sticky bit keeps those who clear away old temporary files from this one (XDG Base Directory 0.8).
        os.fchmod(descriptor, 0o1666)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.close(descriptor)
        os.unlink(draft)
    return os.open(path, flags)
