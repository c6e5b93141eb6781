"""This machine as a compute target."""

from __future__ import annotations

import os
import platform

from fieldwave.compute.status import ComputeStatus, Held, Npus
from fieldwave.errors import FieldwaveError
from fieldwave.leases import slot_states

__all__ = ["local_status"]


def local_status(location: str) -> ComputeStatus:
    """This machine now."""
    try:
        states = slot_states()
    except FieldwaveError as error:
        return ComputeStatus("Failed", (str(error),), _size(), 1, location)
    held = tuple(
        Held(state.slot.name, state.holder.name, since=state.holder.since) for state in states if state.holder
    )
    npus = Npus(used=len(held), allocatable=len(states), allocated=len(held), held=held)
    return ComputeStatus("Succeeded", (), _size(), 1, location, npus)


def _size() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{platform.machine()}, {os.cpu_count()} cores, {pages / (1 << 30):.0f} GiB"
