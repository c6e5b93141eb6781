"""Taking the place of a holder: it is told to go, and its NPU is kept for the newcomer until it has gone.

Whoever replaces locks a second file of the slot, ``SLOT.replaced``, before it tells the holder, and has it locked
until it holds the slot itself: nobody who waits for an NPU gets in between. The file says who replaces whom, for
the holder to read. The lock goes with the newcomer, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fieldwave.errors import ConflictError
from fieldwave.leases.machine import Slot
from fieldwave.leases.slots import (
    Holder,
    SlotState,
    has_open,
    is_locked,
    leases_folder,
    printable,
    read_holder,
    read_record,
    try_lock,
    write_record,
)

__all__ = ["Reservation", "replacer", "reserve", "reserver"]

_PATIENCE_SECONDS = 1.0


class Reservation:
    """A slot that is kept for a newcomer; `release` it when the newcomer holds the slot, or gives up.

    Attributes:
        slot: the slot.
        told: who was told to go; None while nobody could be.
    """

    def __init__(self, slot: Slot, newcomer: str, descriptor: int) -> None:
        self.slot = slot
        self.told: Holder | None = None
        self._newcomer = newcomer
        self._descriptor = descriptor
        self._tried = 0.0

    def tell(self, holder: Holder) -> None:
        """Tell whoever holds the slot now to go, each holder once: another may have come before the reservation.

        Raises:
            ConflictError: it cannot be told.
        """
        if holder == self.told:
            return
        write_record(self._descriptor, {"token": holder.token, "by": self._newcomer})
        if _terminate(holder, self.slot):
            self.told = holder
            return
        # One that has just come may not have written its name yet, and one that goes is gone in a moment.
        self._tried = self._tried or time.monotonic()
        if time.monotonic() - self._tried > _PATIENCE_SECONDS and read_holder(self.slot) == holder:
            raise ConflictError(
                f"service {holder.name} holds {self.slot.name} and cannot be ended from here: it is another "
                "user's, or in another container; end it there, or wait for it"
            )

    def release(self) -> None:
        """Let others have the slot."""
        os.close(self._descriptor)


def reserve(states: Sequence[SlotState], newcomer: str) -> Reservation | None:
    """Keep the slot that has been held longest for ``newcomer``; its own are left alone.

    Returns:
        None when others are about to take them all.

    Raises:
        StorageError: the slot's files cannot be made or read.
    """
    held = [(state.holder, state.slot) for state in states if state.holder and state.holder.name != newcomer]
    for _, slot in sorted(held, key=lambda one: (one[0].pid <= 0, one[0].since, one[1].name)):
        descriptor = try_lock(_file(slot))
        if descriptor is not None:
            return Reservation(slot, newcomer, descriptor)
    return None


def reserver(slot: Slot) -> str:
    """For whom the slot is kept just now; empty if for nobody. Raises StorageError."""
    return _said(slot).get("by", "(no name)") if is_locked(_file(slot)) else ""


def replacer(slot: Slot, token: str) -> str:
    """Who has told the holder with that token to go; empty if nobody did."""
    said = _said(slot)
    return said.get("by", "") if said.get("token") == token else ""


def _said(slot: Slot) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        said = json.loads(read_record(_file(slot)))
        return {str(key): printable(str(value)) for key, value in said.items()}
    return {}


def _terminate(holder: Holder, slot: Slot) -> bool:
    """Send SIGTERM to the process if it is the holder; whether it was."""
    if holder.pid <= 0:
        return False
    try:
        if sys.platform != "linux":
            os.kill(holder.pid, signal.SIGTERM)
            return True
        # By a descriptor: between the look at who it is and the signal its number cannot become another's.
        process = os.pidfd_open(holder.pid)
        try:
            if not has_open(holder.pid, slot):
                return False
            signal.pidfd_send_signal(process, signal.SIGTERM)
        finally:
            os.close(process)
    except (ProcessLookupError, FileNotFoundError, PermissionError):
        return False
    return True


def _file(slot: Slot) -> Path:
    return leases_folder() / f"{slot.name}.replaced"
