"""Leases: who holds which NPU of this machine, one holder for each at a time."""

from fieldwave.leases.lease import Lease, WhenBusy, acquire, why_busy
from fieldwave.leases.machine import Machine, Slot, read_machine
from fieldwave.leases.slots import Holder, SlotState, slot_states

__all__ = [
    "Holder",
    "Lease",
    "Machine",
    "Slot",
    "SlotState",
    "WhenBusy",
    "acquire",
    "read_machine",
    "slot_states",
    "why_busy",
]
