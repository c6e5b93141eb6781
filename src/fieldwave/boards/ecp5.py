"""ECP5 boards as LiteX systems: clocks and memory of a board around what soc.py has for all of them.

Needs the extra ``boards``.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from litedram import modules
from litedram.phy import ECP5DDRPHY, GENSDRPHY
from litex.build.io import DDROutput
from litex.gen import LiteXModule
from litex.soc.cores.clock import ECP5PLL
from litex.soc.integration.soc_core import SoCCore
from migen import ClockDomain, ClockSignal, Instance, Signal
from migen.genlib.resetsync import AsyncResetSynchronizer

from fieldwave.boards.addresses import CSR_SLOTS
from fieldwave.boards.board import Board
from fieldwave.boards.soc import add_host_link, add_memory, add_npu, soc_options
from fieldwave.npu import Configuration

__all__ = ["build_soc", "write_sources"]

SDRAM_PHASE = 90
"""Degrees by which the clock of an SDR memory is behind the system's, so that data are steady at its edge."""
UART_BAUD = 1_000_000
"""ULX3S: its FT231X takes up to 3 Mbaud; one that divides into the system's clock without a remainder."""
RESET_CYCLES = 1 << 16
"""Cycles of the ECPIX-5's oscillator, 0.7 ms, after which its supplies are taken for steady."""


class System(SoCCore):
    """LiteX's, with registers where the driver looks for them."""

    csr_map = CSR_SLOTS


def build_soc(board: Board, configuration: Configuration, megahertz: float) -> Any:
    """The system of ``board`` with that NPU, at that clock, as LiteX's SoC: not finalized, its platform in it."""
    platform = importlib.import_module(f"litex_boards.platforms.{board.platform}").Platform(
        **({"device": "LFE5U-85F"} if board.dram.kind == "sdr" else {"device": "85F"})
    )
    clock = megahertz * 1e6
    soc = System(platform, clock, **soc_options(board.name, configuration))
    chip = getattr(modules, board.dram.module)
    if board.dram.kind == "sdr":
        soc.crg = SdrClocks(platform, clock)
        soc.sdrphy = phy = GENSDRPHY(platform.request("sdram"), clock)
        module = chip(clock, "1:1")
    else:
        soc.crg = Ddr3Clocks(platform, clock)
        soc.ddrphy = phy = ECP5DDRPHY(platform.request("ddram"), sys_clk_freq=clock)
        soc.comb += [soc.crg.stop.eq(phy.init.stop), soc.crg.halt.eq(phy.init.reset)]
        module = chip(clock, "1:2")
    add_memory(soc, phy, module)
    add_npu(soc, configuration, None)
    if board.link == "uart":
        add_host_link(soc, "uart", baudrate=UART_BAUD)
    else:
        from liteeth.phy.ecp5rgmii import LiteEthPHYRGMII

        soc.ethphy = LiteEthPHYRGMII(
            clock_pads=platform.request("eth_clocks"), pads=platform.request("eth"), rx_delay=0e-9
        )
        add_host_link(soc, "etherbone", phy=soc.ethphy)
    return soc


def write_sources(board: Board, configuration: Configuration, megahertz: float, folder: Path) -> None:
    """Write ``top.v`` and what it reads, and ``top.lpf``, the pins and the clocks, to ``folder``.

    LiteX changes into that folder meanwhile: call it in a process of its own.
    """
    soc = build_soc(board, configuration, megahertz)
    soc.platform.build(soc, build_dir=str(folder), build_name="top", run=False)


class SdrClocks(LiteXModule):
    """ULX3S: 25 MHz in; the system's clock, and the same later for the memory's pin."""

    def __init__(self, platform: Any, frequency: float) -> None:
        self.rst = Signal()
        self.cd_sys = ClockDomain()
        self.cd_memory = ClockDomain(reset_less=True)
        self.pll = pll = ECP5PLL()
        self.comb += [
            pll.reset.eq(platform.request("rst") | self.rst),
            platform.request("wifi_gpio0").eq(1),  # else the ESP32 beside it may reconfigure the FPGA
        ]
        pll.register_clkin(platform.request("clk25"), 25e6)
        pll.create_clkout(self.cd_sys, frequency)
        pll.create_clkout(self.cd_memory, frequency, phase=SDRAM_PHASE, with_reset=False)
        self.specials += DDROutput(1, 0, platform.request("sdram_clock"), ClockSignal("memory"))


class Ddr3Clocks(LiteXModule):
    """ECPIX-5: 100 MHz in; twice the system's clock on an edge clock, the system's divided from it.

    Members:
        stop, halt: from the memory's PHY, while it aligns the edge clock.
    """

    def __init__(self, platform: Any, frequency: float) -> None:
        self.rst, self.stop, self.halt = Signal(), Signal(), Signal()
        self.cd_por = ClockDomain(reset_less=True)
        self.cd_init = ClockDomain()
        self.cd_sys = ClockDomain()
        self.cd_sys2x = ClockDomain()
        self.cd_sys2x_i = ClockDomain()
        oscillator, reset_n = platform.request("clk100"), platform.request("rst_n")
        waiting = Signal(max=RESET_CYCLES, reset=RESET_CYCLES - 1)
        self.comb += self.cd_por.clk.eq(oscillator)
        self.sync.por += waiting.eq(waiting - (waiting != 0))
        self.pll = pll = ECP5PLL()
        self.comb += pll.reset.eq((waiting != 0) | ~reset_n | self.rst)
        pll.register_clkin(oscillator, 100e6)
        pll.create_clkout(self.cd_sys2x_i, 2 * frequency)
        pll.create_clkout(self.cd_init, 25e6)
        self.specials += [
            Instance("ECLKSYNCB", i_ECLKI=self.cd_sys2x_i.clk, i_STOP=self.stop, o_ECLKO=self.cd_sys2x.clk),
            Instance(
                "CLKDIVF", p_DIV="2.0", i_ALIGNWD=0, i_CLKI=self.cd_sys2x.clk, i_RST=self.halt,
                o_CDIVX=self.cd_sys.clk,
            ),
            AsyncResetSynchronizer(self.cd_sys, ~pll.locked | self.halt),
        ]  # fmt: skip
