"""The devices by name; a kind is imported when it is first asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from fieldwave.devices.protocol import Device
from fieldwave.errors import NotFoundError
from fieldwave.leases import acquire

__all__ = ["create_device", "device_names", "lease_device", "open_device"]

_KINDS = {
    "cpu": ("fieldwave.devices.cpu", "CpuDevice"),
    "rtl": ("fieldwave.devices.rtl", "RtlDevice"),
    "board": ("fieldwave.devices.board", "BoardDevice"),
}
_BEHIND_THE_COLON = {"rtl": "npu", "board": "port"}
"""What a name says behind a colon: an argument of the device's class."""


def device_names() -> tuple[str, ...]:
    """The names that `create_device` takes."""
    return tuple(_KINDS)


def create_device(name: str, **options: Any) -> Device:
    """A device that is not opened yet.

    Args:
        name: one of `device_names`; behind a colon the rtl device takes an NPU configuration (``rtl:tiny``) and
            the board device the way to the board (``board:/dev/ttyUSB0``, ``board:udp:192.168.1.50``,
            ``board:sim``, or its name on this machine), without which it does not know which.
        options: the keyword arguments of that device's class.

    Raises:
        NotFoundError: there is no device, or no NPU configuration, of that name; the message lists the names.
    """
    base, colon, rest = name.partition(":")
    if base not in _KINDS or (colon and base not in _BEHIND_THE_COLON) or (base == "board" and not rest):
        raise NotFoundError(f"no device {name!r}; there are: cpu, rtl, rtl:NPU, board:PORT")
    if colon:
        options[_BEHIND_THE_COLON[base]] = rest
    module, kind = _KINDS[base]
    return cast(Device, getattr(importlib.import_module(module), kind)(**options))


@contextmanager
def lease_device(name: str, holder: str, **options: Any) -> Iterator[Device]:
    """A device that is open within, and whose NPU no other process of this machine has meanwhile.

    Args:
        name: as `create_device`; ``board`` for any board that is free.
        holder: who has it, for those who find it held; the process is added.
        options: as `create_device`.

    Raises:
        NotFoundError: there is no device of that name, or this machine has no such NPU.
        DeviceBusyError: others hold the NPUs that would do; the message says who.
    """
    me = f"{holder} (process {os.getpid()})"
    with acquire(name, me) as lease, create_device(lease.device, **options) as device:
        yield device


def open_device(name: str, **options: Any) -> Device:
    """`create_device`, opened; close it, or use it in a with statement. It holds no lease: see `lease_device`.

    Raises:
        NotFoundError: as `create_device`.
        DeviceBusyError: the device has an owner already.
    """
    device = create_device(name, **options)
    device.open()
    return device
