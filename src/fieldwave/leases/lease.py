"""Taking an NPU: at most one holder for each slot, and what happens when all are held."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fieldwave.errors import ConflictError, DeviceBusyError, InputError, NotFoundError, StorageError
from fieldwave.files import write_atomically
from fieldwave.leases.machine import Machine, Slot, machine_file, read_machine
from fieldwave.leases.slots import (
    Holder,
    SlotState,
    has_open,
    leases_folder,
    read_holder,
    try_lock,
    write_holder,
)
from fieldwave.leases.words import held_by

__all__ = ["Lease", "WhenBusy", "acquire", "why_busy"]

WhenBusy = Literal["refuse", "wait", "replace"]

_POLL_SECONDS = 0.05
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
        if self.slot is None or not self._token:
            return ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            said = json.loads(_request_file(self.slot).read_bytes())
            if said["token"] == self._token:
                return str(said["by"])
        return ""

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
            write_holder(descriptor, None)
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
            file counts them), ``board`` (any board), ``board:NAME``.
        holder: the service's name, for those who find the NPU held.
        when_busy: when all are held, ``refuse`` raises, ``wait`` waits for one, and ``replace`` ends the process
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
    reason, told = "", None
    while True:
        lease = _take(device, slots, holder)
        if lease is not None:
            return lease
        states = [SlotState(slot, read_holder(slot)) for slot in slots]
        if any(state.holder is None for state in states):
            continue  # freed just now
        now_held = held_by(states)
        if when_busy == "refuse":
            raise _refusal(holder, now_held)
        if when_busy == "replace" and told is None:
            told = _replace(states, holder)
            deadline = time.monotonic() + (_REPLACE_SECONDS if timeout is None else timeout)
        if cancelled():
            raise DeviceBusyError(f"{holder} was stopped while it waited for an NPU: {now_held}")
        if deadline is not None and time.monotonic() >= deadline:
            if told is not None:
                raise DeviceBusyError(f"service {told} was told to go and still holds its NPU: {now_held}")
            raise DeviceBusyError(f"no NPU for {holder} within {timeout:g} s: {now_held}")
        if now_held != reason:
            reason = now_held
            waiting(reason)
        time.sleep(_POLL_SECONDS)


def why_busy(device: str) -> str:
    """Why `acquire` would not have an NPU at once, in words; empty if it would.

    Raises:
        NotFoundError, StorageError: as `acquire`.
    """
    machine = read_machine()
    slots = _candidates(device, machine)
    if slots is None or machine.given is not None:
        return ""
    states = [SlotState(slot, read_holder(slot)) for slot in slots]
    return "" if any(state.holder is None for state in states) else held_by(states)


def _candidates(device: str, machine: Machine) -> tuple[Slot, ...] | None:
    """The slots any of which would do; None if the device needs none."""
    kind, _, which = device.partition(":")
    if kind not in ("rtl", "board") or (kind == "rtl" and machine.rtl is None):
        return None
    slots = tuple(slot for slot in machine.slots if slot.kind == kind)
    if kind == "board" and which:
        slots = tuple(slot for slot in slots if slot.name == which)
    if slots:
        return slots
    if machine.given is not None:
        has = ", ".join(slot.device for slot in machine.given) or "none"
        raise NotFoundError(f"this container was given no NPU for device {device!r}; it has: {has}")
    if kind == "rtl":
        raise NotFoundError(f"no simulated NPU may run on this machine: {machine_file()} says rtl = 0")
    has = ", ".join(slot.name for slot in machine.boards) or "none"
    raise NotFoundError(f"this machine has no NPU for device {device!r}; boards in {machine_file()}: {has}")


def _take(device: str, slots: Sequence[Slot], holder: str) -> Lease | None:
    for slot in slots:
        descriptor = try_lock(slot)
        if descriptor is not None:
            me = Holder.me(holder)
            write_holder(descriptor, me)
            return Lease(_named(device, slot), slot, descriptor, me.token)
    return None


def _named(device: str, slot: Slot) -> str:
    return slot.device if slot.kind == "board" else device


def _refusal(holder: str, held: str) -> DeviceBusyError:
    return DeviceBusyError(
        f"no NPU is free for {holder}: {held}; delete a service, or deploy with --when-busy wait or replace"
    )


def _replace(states: Sequence[SlotState], newcomer: str) -> str:
    """Tell the one that has held its NPU longest to go; its name.

    Raises:
        DeviceBusyError: all are the newcomer's own.
        ConflictError: it cannot be told.
    """
    others = [state for state in states if state.holder is not None and state.holder.name != newcomer]
    if not others:
        raise _refusal(newcomer, held_by(states))
    state = min(others, key=lambda one: (one.holder.since, one.slot.name) if one.holder else ("", ""))
    holder = state.holder
    assert holder is not None
    request = json.dumps({"token": holder.token, "by": newcomer}).encode()
    with contextlib.suppress(StorageError):  # it is told all the same, only not by whom
        write_atomically(_request_file(state.slot), request)
    if not _terminate(holder, state.slot) and read_holder(state.slot) == holder:
        raise ConflictError(
            f"service {holder.name} holds {state.slot.name} and cannot be ended from here: it is another user's, "
            "or in another container; end it there, or wait for it"
        )
    return holder.name


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


def _request_file(slot: Slot) -> Path:
    return leases_folder() / f"{slot.name}.replaced"
