"""The way to a board: ``board:/dev/ttyUSB0``, ``board:udp:192.168.1.50``, ``board:sim``, ``board:NAME``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fieldwave.devices.board.transport import Transport
from fieldwave.errors import InputError, NotFoundError
from fieldwave.leases import read_machine
from fieldwave.leases.machine import machine_file

__all__ = ["Way", "open_transport", "parse_port"]

PORT_SYNTAX = "SERIAL_PORT, udp:HOST, sim, or the name of a board of this machine"


@dataclass(frozen=True)
class Way:
    """A parsed port.

    Attributes:
        kind: ``"uart"``, ``"udp"`` or ``"sim"``.
        where: path of the serial port, or host; the configuration of a simulated board, if one was said.
        options: port and the like, keyword arguments of the transport.
    """

    kind: str
    where: str
    options: dict[str, Any] = field(default_factory=dict)


def parse_port(port: str) -> Way:
    """The way that a port means; a board's name is looked up in the machine's file.

    Raises:
        InputError: it is no port.
        NotFoundError: this machine has no board of that name.
    """
    kind, colon, rest = port.partition(":")
    if kind == "sim":
        return Way("sim", rest or "tiny")
    if port.startswith("/"):
        path, _, baud = port.partition("@")
        return Way("uart", path, {"baud": _number(baud, port)} if baud else {})
    if kind == "udp" and rest:
        host, colon, number = rest.rpartition(":")
        return Way("udp", host, {"port": _number(number, port)}) if colon else Way("udp", rest)
    if not port or colon:
        raise InputError(f"{port!r} is no way to a board; say {PORT_SYNTAX}")
    machine = read_machine()
    for slot in machine.slots:
        if slot.kind == "board" and slot.name == port:
            if slot.address:
                return parse_port(f"udp:{slot.address.removeprefix('udp:')}")
            if slot.files:
                return parse_port(slot.files[0])
            raise InputError(f"board {port} has neither files nor an address in {machine_file()}; add one")
    has = ", ".join(slot.name for slot in machine.slots if slot.kind == "board") or "none"
    raise NotFoundError(f"no board {port!r}; boards in {machine_file()}: {has}; or say {PORT_SYNTAX}")


def open_transport(way: Way, progress: Callable[[str, float], None]) -> Transport:
    """The transport of that way, opened; a simulated board is built first where it is not in the cache.

    Raises:
        NotFoundError, DeviceError, DeviceBusyError: as the transports do.
        MissingExtraError: a simulated board needs the extra ``boards``.
    """
    if way.kind == "udp":
        from fieldwave.devices.board.etherbone import EtherboneTransport

        return EtherboneTransport(way.where, **way.options)
    if way.kind == "sim":
        from fieldwave.devices.board.simulated import SimulatedBoard

        return SimulatedBoard(way.where, progress=progress)
    from fieldwave.devices.board.uart import UartTransport

    return UartTransport(way.where, **way.options)


def _number(text: str, port: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{text!r} in {port!r} is no number; say {PORT_SYNTAX}")
    return int(text)
