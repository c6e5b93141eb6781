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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import ConflictError
from fieldwave.leases.machine import Slot
from fieldwave.leases.slots import (
    Holder,
    SlotState,
    has_open,
    is_locked,
    leases_folder,
    read_holder,
    try_lock,
    write_record,
)

__all__ = ["Reservation", "replace_one", "replacer", "reserver"]


@dataclass
class Reservation:
    """A slot that is kept for the newcomer; `release` it when it is held, or given up.

    Attributes:
        slot: the slot.
        replaced: the name of the holder that was told to go.
    """

    slot: Slot
    replaced: str
    _descriptor: int

    def release(self) -> None:
        os.close(self._descriptor)


def replace_one(states: Sequence[SlotState], newcomer: str) -> Reservation | None:
    """Tell the one that has held its NPU longest to go, and keep its place.

    Parameters:
        states: the slots that would do; the newcomer's own are left alone.

    Returns:
        None when every other holder is being replaced already.

    Raises:
        ConflictError: it cannot be told.
        StorageError: the slot's files cannot be made or read.
    """
    held = [(state.holder, state.slot) for state in states if state.holder and state.holder.name != newcomer]
    for holder, slot in sorted(held, key=lambda one: (one[0].since, one[1].name)):
        descriptor = try_lock(_file(slot))
        if descriptor is None:
            continue
        reservation = Reservation(slot, holder.name, descriptor)
        try:
            write_record(descriptor, {"token": holder.token, "by": newcomer})
            if not _terminate(holder, slot) and read_holder(slot) == holder:
                raise ConflictError(
                    f"service {holder.name} holds {slot.name} and cannot be ended from here: it is another "
                    "user's, or in another container; end it there, or wait for it"
                )
        except BaseException:
            reservation.release()
            raise
        return reservation
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
        return {str(key): str(value) for key, value in json.loads(_file(slot).read_bytes()).items()}
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
