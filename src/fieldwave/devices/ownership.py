"""Who has a device: at most one owner at a time."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from fieldwave.errors import DeviceBusyError, DeviceError

__all__ = ["Ownership"]


@dataclass(frozen=True)
class _Owner:
    process: int
    thread: str
    entered: bool


class Ownership:
    """The owner of one device object.

    A fork copies the object, but not the threads behind it, so only the process that opened a device may use it.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._owner: _Owner | None = None

    def claim(self) -> None:
        """Become the owner.

        Raises:
            DeviceBusyError: there is an owner already; the message names its process and thread.
        """
        with self._lock:
            if self._owner is not None:
                raise self._busy(self._owner)
            self._owner = _me(entered=False)

    def enter(self) -> bool:
        """Begin a with statement: over a device that is open already, the first one takes it as it is.

        Returns:
            Whether the device was opened by this.

        Raises:
            DeviceBusyError: a with statement or another process has it.
        """
        with self._lock:
            before = self._owner
            if before is not None and (before.entered or before.process != os.getpid()):
                raise self._busy(before)
            self._owner = _me(entered=True)
            return before is None

    def check(self) -> None:
        """Raise unless this process has the device.

        Raises:
            DeviceError: nobody has opened the device.
            DeviceBusyError: another process has.
        """
        owner = self._owner
        if owner is None:
            raise DeviceError(
                f"device {self._device} is not open; call open() first, or use it in a with statement"
            )
        if owner.process != os.getpid():
            raise self._busy(owner)

    def release(self) -> None:
        """Nobody is the owner any more."""
        with self._lock:
            self._owner = None

    def _busy(self, owner: _Owner) -> DeviceBusyError:
        return DeviceBusyError(
            f"device {self._device} is in use (opened by process {owner.process}, thread {owner.thread!r}); "
            "close it there first"
        )


def _me(*, entered: bool) -> _Owner:
    return _Owner(os.getpid(), threading.current_thread().name, entered)
