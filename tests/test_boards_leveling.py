"""Read leveling through LiteDRAM's own injector of commands, in simulation; chip and PHY are the model's."""

from __future__ import annotations

import threading
from queue import Queue
from typing import Any

import pytest

pytest.importorskip("litedram", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")

from litedram.dfii import DFIInjector
from litex.gen import LiteXModule
from litex.soc.interconnect import csr_bus
from migen import passive, run_simulation

from fieldwave.boards import addresses
from fieldwave.devices.board import Link
from fieldwave.devices.board.leveling import Window, level_reads
from fieldwave.npu import configuration
from tests.board_model import Bus, DirectTransport
from tests.phy_model import PHASES, Phy

READ_CYCLES = 5
GATEWARE = range(addresses.DFI, addresses.PHY)


class Injector(LiteXModule):
    """LiteDRAM's registers, behind LiteX's register bus."""

    def __init__(self) -> None:
        self.injector = DFIInjector(15, 3, 1, 64, PHASES)
        self.bus = csr_bus.Interface(data_width=32)
        self.bank = csr_bus.CSRBank(self.injector.get_csrs(), addresses.CSR_SLOTS["sdram"], self.bus)


class Wired(Bus):
    """A board whose registers of the injector are those of a simulation in another thread."""

    def __init__(self, phy: Phy) -> None:
        super().__init__(configuration("tiny"))
        self.phy = phy
        self.asked: Queue[tuple[int, int | None] | None] = Queue()
        self.told: Queue[int] = Queue()

    def write(self, address: int, value: int) -> None:
        super().write(address, value)
        if address in GATEWARE:
            self.asked.put((address, value))
            self.told.get(timeout=20)

    def _read(self, address: int) -> int:
        if address not in GATEWARE:
            return super()._read(address)
        self.asked.put((address, None))
        return self.told.get(timeout=20)

    # What the host sends, and what the chip sees of it.

    def host(self, bus: Any) -> Any:
        while (request := self.asked.get(timeout=20)) is not None:
            address, value = request
            if value is None:
                yield from bus.read(address // 4)
                yield
                self.told.put((yield bus.dat_r))
            else:
                yield from bus.write(address // 4, value)
                for _ in range(READ_CYCLES + 3):
                    yield
                self.told.put(0)

    @passive
    def chip(self, dfi: Any) -> Any:
        assert self.phy is not None
        left = 0
        while True:
            left -= left > 0
            for phase in dfi.phases:
                yield phase.rddata_valid.eq(left == 1)
            for number, phase in enumerate(dfi.phases):
                command = 0
                for bit, name in enumerate(("cs_n", "we_n", "cas_n", "ras_n")):
                    command |= (not (yield getattr(phase, name))) << bit
                command |= (yield phase.wrdata_en) << 4 | (yield phase.rddata_en) << 5
                if not command:
                    continue
                assert (yield phase.cke) and (yield phase.odt) and (yield phase.reset_n)
                for other, place in enumerate(dfi.phases):
                    data = yield place.wrdata
                    self.phy.registers[other, 4:6] = data >> 32, data & 0xFFFFFFFF
                if self.phy.perform(number, command, (yield phase.address), (yield phase.bank)):
                    left = READ_CYCLES
                    for other, place in enumerate(dfi.phases):
                        high, low = (int(word) for word in self.phy.registers[other, 6:8])
                        yield place.rddata.eq(high << 32 | low)
            yield


def test_windows_are_found_through_litedrams_registers() -> None:
    """The model's own registers are left out here: it sees what the gateware puts on the chip's pins."""

    class Chip(Phy):
        def write(self, address: int, value: int) -> None:
            if address not in GATEWARE:
                super().write(address, value)
            elif address == addresses.DFI:
                self.control = value

    phy = Chip([(1, {2, 3, 4}), (0, {4, 5, 6})])
    board, gateware = Wired(phy), Injector()
    found: list[Window] = []

    def drive() -> None:
        try:
            link = Link(DirectTransport(board))
            link.begin()
            found.extend(level_reads(link))
        finally:
            board.asked.put(None)

    driver = threading.Thread(target=drive)
    driver.start()
    run_simulation(gateware, [board.host(gateware.bus), board.chip(gateware.injector.master)])
    driver.join(20)
    assert found == [Window(1, 2, 4), Window(0, 4, 6)]
    assert phy.sound
