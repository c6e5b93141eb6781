"""A board in simulation: LiteX's system with a model of its memory chip, as Verilog.

``python -m fieldwave.boards.simulation NPU.json FOLDER`` writes it to ``board.v``.

Everything behind the serial line is what a real board has: bridge, bus, witness, memory controller, NPU. In
place of the pins of the line there are LiteX's simulated ones, which take a byte at a time, and in place of the
memory chip its model, started up as the chip is.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from litedram.modules import MT48LC16M16
from litedram.phy.model import SDRAMPHYModel
from litex.build.generic_platform import Pins, Subsignal
from litex.build.sim.platform import SimPlatform
from litex.gen import LiteXModule
from litex.soc.cores.uart import RS232PHYModel
from litex.soc.integration.soc_core import SoCCore
from migen import ClockDomain, Signal

from fieldwave.boards.addresses import CSR_SLOTS
from fieldwave.boards.soc import add_host_link, add_memory, add_npu, soc_options
from fieldwave.npu import Configuration, configuration

__all__ = ["SimulatedSoC", "write_simulated_board"]

_CLOCK = 200_000
"""What the board takes its clock for, in hertz: its bridge gives up a command after a tenth of that, in cycles."""
_MEMORY_CLOCK = 100e6
_IO = [
    ("sys_clk", 0, Pins(1)),
    ("sys_rst", 0, Pins(1)),
    (
        "serial",
        0,
        *(
            Subsignal(f"{side}_{name}", Pins(width))
            for side in ("source", "sink")
            for name, width in (("valid", 1), ("ready", 1), ("data", 8))
        ),
    ),
]
_READ_FILE = re.compile(r'\$readmemh\("([^"]+)", (\w+)\);')


class _Clock(LiteXModule):
    def __init__(self, platform: Any) -> None:
        self.rst = Signal()  # what the host pulls
        self.cd_sys = ClockDomain("sys")
        self.comb += [
            self.cd_sys.clk.eq(platform.request("sys_clk")),
            self.cd_sys.rst.eq(platform.request("sys_rst") | self.rst),
        ]


class SimulatedSoC(SoCCore):
    """A ULX3S' memory and host link around an NPU, without pins."""

    csr_map = CSR_SLOTS

    def __init__(self, configuration: Configuration) -> None:
        platform = SimPlatform("SIM", list(_IO))
        self.crg = _Clock(platform)
        super().__init__(platform, _CLOCK, **soc_options("sim", configuration))
        module = MT48LC16M16(_MEMORY_CLOCK, "1:1")
        self.sdrphy = SDRAMPHYModel(module, data_width=16, clk_freq=_MEMORY_CLOCK)
        add_memory(self, self.sdrphy, module)
        add_npu(self, configuration, None)
        add_host_link(self, "uart", phy=RS232PHYModel(platform.request("serial")))


def write_simulated_board(npu: Configuration, folder: Path) -> None:
    """Write the board's Verilog, without the NPU's; the process stands in ``folder`` meanwhile."""
    soc = SimulatedSoC(npu)
    soc.finalize()
    before = Path.cwd()
    os.chdir(folder)  # LiteX writes where it stands
    try:
        soc.platform.get_verilog(soc, name="board").write("board.v")
    finally:
        os.chdir(before)
    # Contents of memories into the text: the simulator runs anywhere.
    file = folder / "board.v"
    file.write_text(_READ_FILE.sub(lambda found: _assignments(folder / found[1], found[2]), file.read_text()))


def _assignments(contents: Path, memory: str) -> str:
    words = contents.read_text().split()
    return "\n".join(f"    {memory}[{index}] = 'h{word};" for index, word in enumerate(words))


if __name__ == "__main__":
    write_simulated_board(configuration(sys.argv[1]), Path(sys.argv[2]))
