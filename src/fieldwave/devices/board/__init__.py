"""Boards: NPUs on FPGAs, behind a serial line or a network."""

from __future__ import annotations

from fieldwave.devices.board.core import BoardCore
from fieldwave.devices.board.device import BoardDevice
from fieldwave.devices.board.etherbone import EtherboneTransport
from fieldwave.devices.board.identity import Identity, identify
from fieldwave.devices.board.link import Doubt, Link
from fieldwave.devices.board.transport import LinkFault, Transport
from fieldwave.devices.board.uart import UartTransport

__all__ = [
    "BoardCore", "BoardDevice", "Doubt", "EtherboneTransport", "Identity", "Link", "LinkFault", "Transport",
    "UartTransport", "identify",
]  # fmt: skip
