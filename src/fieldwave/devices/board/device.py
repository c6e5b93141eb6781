"""The board device: an NPU on an FPGA, behind a transport."""

from __future__ import annotations

from collections.abc import Callable

from fieldwave.devices.board.core import BoardCore
from fieldwave.devices.board.identity import Identity, configuration_of
from fieldwave.devices.board.link import Link
from fieldwave.devices.board.ports import open_transport, parse_port
from fieldwave.devices.board.transport import Transport
from fieldwave.devices.npu import NpuDevice
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration, configuration

__all__ = ["BoardDevice"]

WATCHDOG_SECONDS, SIMULATED_WATCHDOG_SECONDS = 10.0, 600.0


class BoardDevice(NpuDevice):
    """Runs packages on a board.

    Args:
        port: the way to it: ``/dev/ttyUSB0``, ``udp:192.168.1.50``, ``sim``, or its name on this machine.
        npu: the configuration that it must have; without it, whichever named one it has.
        transport: the way to it, opened; in place of ``port``. The device closes it.
        watchdog: seconds after which a run is given up.
        progress: called while it is opened with what is under way and how much of it is done, 0 to 1.

    Raises:
        InputError, NotFoundError: the port is none, or there is none of that name.
    """

    def __init__(
        self,
        *,
        port: str = "",
        npu: str | Configuration | None = None,
        transport: Transport | None = None,
        watchdog: float | None = None,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self._transport = transport
        self._way = parse_port(port) if transport is None else None
        self.name = f"board:{port or (transport.name if transport else '')}"
        self._expected = configuration(npu) if isinstance(npu, str) else npu
        simulated = self._way is not None and self._way.kind == "sim"
        self._watchdog = watchdog or (SIMULATED_WATCHDOG_SECONDS if simulated else WATCHDOG_SECONDS)
        self._progress = progress or (lambda what, fraction: None)
        super().__init__(None, npu if isinstance(npu, str) else None)

    @property
    def identity(self) -> Identity:
        """Who the board is, by its own account. Raises DeviceError when the device is not open."""
        core = self._opened()
        assert isinstance(core, BoardCore)
        return core.identity

    @property
    def recoveries(self) -> int:
        """How often the board was reset and everything done again since `open`."""
        core = self._opened()
        assert isinstance(core, BoardCore)
        return core.recoveries

    def _power_up(self) -> BoardCore:
        transport = self._transport or (open_transport(self._way, self._progress) if self._way else None)
        if transport is None:
            raise DeviceError(f"the way to device {self.name} was closed; make the device anew")
        self._transport = None
        try:
            core = BoardCore(Link(transport), watchdog=self._watchdog)
            self._configuration = configuration_of(core.identity, transport.name, self._expected)
        except BaseException:
            transport.close()
            raise
        return core
