"""Taking an NPU: at most one holder for each slot, and what happens when all are held."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Literal, Self

from fieldwave.errors import DeviceBusyError, InputError, NotFoundError
from fieldwave.leases.machine import Machine, Slot, machine_file, read_machine, undescribed_slot
from fieldwave.leases.replace import Reservation, replacer, reserve, reserver
from fieldwave.leases.slots import (
    Holder,
    SlotState,
    lock_file,
    parse_holder,
    read_holder,
    read_record,
    try_lock,
    write_record,
)
from fieldwave.leases.words import held_by

__all__ = ["Lease", "WhenBusy", "acquire", "why_busy"]

WhenBusy = Literal["refuse", "wait", "replace"]

_POLL_SECONDS = 0.05
_RETURN_SECONDS = 5.0
_REPLACE_SECONDS = 30.0
"""Whoever is replaced may finish its requests, which takes a service 10 s at most."""


class Lease:
    """An NPU that is held until `release`, or until the end of the process, however it comes.

    Attributes:
        device: what to open: the device that was asked for, with the board's name where only ``board`` was said.
        slot: the slot that is held; None for a device of which there are as many as one likes.
    """

    def __init__(self, device: str, slot: Slot | None, descriptor: int | None = None, token: str = "") -> None:
        self.device = device
        self.slot = slot
        self._descriptor = descriptor
        self._token = token

    @property
    def replaced_by(self) -> str:
        """Who has told this holder to go, that is why SIGTERM came; empty if nobody did."""
        return replacer(self.slot, self._token) if self.slot is not None and self._token else ""

    def fileno(self) -> int:
        """The locked file, for a child process to inherit: the slot is held until the last copy is closed.

        Raises:
            InputError: the lease is released, or holds no slot.
        """
        if self._descriptor is None:
            raise InputError(f"the lease of {self.device} holds no file; ask before it is released")
        return self._descriptor

    def release(self) -> None:
        """Let the NPU go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            write_record(descriptor, None)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def acquire(
    device: str,
    holder: str,
    when_busy: WhenBusy = "refuse",
    *,
    timeout: float | None = None,
    waiting: Callable[[str], None] = lambda reason: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Lease:
    """Take an NPU of this machine for a device.

    Parameters:
        device: as services name it: ``cpu`` (needs none), ``rtl`` or ``rtl:NPU`` (needs one where the machine's
            file counts them), ``board`` (any board), ``board:NAME``, ``board:/dev/ttyUSB0`` or ``board:udp:HOST``
            (also where the file does not describe it), ``board:sim`` (needs none).
        holder: the service's name, for those who find the NPU held.
        when_busy: when all are held, ``refuse`` raises, ``wait`` waits for one (an NPU whose holder has died is
            left to it for 5 s more: it may be started again), and ``replace`` ends the process
            that has held one longest (SIGTERM: it finishes its requests) and takes its place. A holder is never
            replaced by one of its own name.
        timeout: seconds to wait; None waits for ever, and for 30 s for one that is replaced.
        waiting: called with the reason, in words, when the wait begins and whenever it changes.
        cancelled: asked while it waits; True ends the wait.

    Raises:
        NotFoundError: this machine has no such NPU.
        DeviceBusyError: all are held; the message says by whom.
        ConflictError: the one that is to be replaced cannot be told to go.
        StorageError: the lock files cannot be made or read.
    """
    machine = read_machine()
    slots = _candidates(device, machine)
    if slots is None:
        return Lease(device, None)
    if machine.given is not None:
        return Lease(_named(device, slots[0]), slots[0])
    deadline = None if timeout is None else time.monotonic() + timeout
    reason, kept, fallen = "", None, _Fallen(holder, when_busy == "wait")
    try:
        while (lease := _take(device, slots, holder, kept, fallen)) is None:
            states = _states(slots, kept, fallen)
            if any(state.holder is None for state in states):
                continue  # freed just now
            now_held = held_by(states)
            own = all(state.holder is not None and state.holder.name == holder for state in states)
            if when_busy == "refuse" or (when_busy == "replace" and own):
                raise _refusal(holder, now_held)
            if when_busy == "replace" and kept is None and (kept := reserve(states, holder)) is not None:
                deadline = time.monotonic() + (_REPLACE_SECONDS if timeout is None else timeout)
            if kept is not None:
                held = next(state.holder for state in states if state.slot == kept.slot and state.holder)
                if held.name == holder:  # one of its own came just before the reservation
                    kept.release()
                    kept = None
                else:
                    kept.tell(held)
            if cancelled():
                raise DeviceBusyError(f"{holder} was stopped while it waited for an NPU: {now_held}")
            if deadline is not None and time.monotonic() >= deadline:
                if kept is not None and kept.told is not None:
                    raise DeviceBusyError(
                        f"service {kept.told.name} was told to go and still holds {kept.slot.name}"
                    )
                raise DeviceBusyError(f"no NPU for {holder} in time: {now_held}")
            if now_held != reason:
                reason = now_held
                waiting(reason)
            time.sleep(_POLL_SECONDS)
        return lease
    finally:
        if kept is not None:
            kept.release()


def why_busy(device: str) -> str:
    """Why `acquire` would not have an NPU at once, in words; empty if it would.

    Raises:
        NotFoundError, StorageError: as `acquire`.
    """
    machine = read_machine()
    slots = _candidates(device, machine)
    if slots is None or machine.given is not None:
        return ""
    states = _states(slots, None, _Fallen("", False))
    return "" if any(state.holder is None for state in states) else held_by(states)


def _candidates(device: str, machine: Machine) -> tuple[Slot, ...] | None:
    """The slots any of which would do; None if the device needs none."""
    kind, _, which = device.partition(":")
    if kind not in ("rtl", "board") or (kind == "rtl" and machine.rtl is None):
        return None
    slots = tuple(slot for slot in machine.slots if slot.kind == kind)
    if kind == "board" and which.partition(":")[0] == "sim" and machine.given is None:
        return None  # a simulation of its own for each
    if kind == "board" and which:
        slots = tuple(slot for slot in slots if slot.name == which) or _reached(which, slots, machine)
    if slots:
        return slots
    if machine.given is not None:
        has = ", ".join(slot.device for slot in machine.given) or "none"
        raise NotFoundError(f"this container was given no NPU for device {device!r}; it has: {has}")
    if kind == "rtl":
        raise NotFoundError(f"no simulated NPU may run on this machine: {machine_file()} says rtl = 0")
    has = ", ".join(slot.name for slot in machine.boards) or "none"
    raise NotFoundError(f"this machine has no NPU for device {device!r}; boards in {machine_file()}: {has}")


def _reached(way: str, boards: tuple[Slot, ...], machine: Machine) -> tuple[Slot, ...]:
    """The board that this way leads to; outside of containers it need not be described."""
    port = way.partition("@")[0]
    found = tuple(slot for slot in boards if port in slot.files or (slot.address and way == f"udp:{slot.address}"))
    if found or machine.given is not None:
        return found
    return (undescribed_slot(port),) if way.startswith(("/", "udp:")) else ()


class _Fallen:
    """Holders that have died without letting go: they are given a moment to come back before who waits gets in.

    A service that dies is started again at once, and must not lose its NPU by that.
    """

    def __init__(self, me: str, patient: bool) -> None:
        self._me = me
        self._patient = patient
        self._seen: dict[str, float] = {}

    def before(self, slot: Slot) -> Holder | None:
        """Who held the slot, which nobody else has now, and may still come back for it."""
        if not self._patient:
            return None
        try:
            holder = parse_holder(read_record(lock_file(slot)))
        except (OSError, ValueError):  # empty: it let go
            return None
        since = self._seen.setdefault(holder.token, time.monotonic())
        return holder if holder.name != self._me and time.monotonic() - since < _RETURN_SECONDS else None


def _take(
    device: str, slots: Sequence[Slot], holder: str, kept: Reservation | None, fallen: _Fallen
) -> Lease | None:
    for slot in slots:
        descriptor = try_lock(lock_file(slot))
        if descriptor is None:
            continue
        # Only now: whoever replaces has the slot kept before its holder goes.
        if (kept is None or kept.slot != slot) and reserver(slot):
            os.close(descriptor)
            continue
        if fallen.before(slot) is not None:
            os.close(descriptor)
            continue
        me = Holder.me(holder)
        write_record(descriptor, asdict(me))
        return Lease(_named(device, slot), slot, descriptor, me.token)
    return None


def _states(slots: Sequence[Slot], kept: Reservation | None, fallen: _Fallen) -> list[SlotState]:
    """Who holds each slot, or will have it next."""
    states = []
    for slot in slots:
        holder = read_holder(slot)
        if holder is None and (kept is None or kept.slot != slot) and (by := reserver(slot)):
            holder = Holder(by, 0)
        states.append(SlotState(slot, holder or fallen.before(slot)))
    return states


def _named(device: str, slot: Slot) -> str:
    return slot.device if device == "board" else device


def _refusal(holder: str, held: str) -> DeviceBusyError:
    return DeviceBusyError(
        f"no NPU is free for {holder}: {held}; delete a service, or deploy with --when-busy wait or replace"
    )
