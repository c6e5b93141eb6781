"""Boards and what is on them: the FPGA, its memory, the way to a host, and the NPU that is built for it."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.errors import NotFoundError
from fieldwave.npu import Configuration, configuration

__all__ = ["BOARDS", "Board", "Dram", "board"]

MIB = 1024 * 1024


@dataclass(frozen=True)
class Dram:
    """The memory behind the NPU.

    Attributes:
        kind: ``"sdr"``, ``"ddr3"``, or ``"model"``, which is SDR memory of a simulation.
        module: the chip, as LiteDRAM names its timings.
        bytes: its size.
        bits: width of its data pins.
    """

    kind: str
    module: str
    bytes: int
    bits: int


@dataclass(frozen=True)
class Board:
    """A board, or the simulation of one.

    Attributes:
        name: by which commands know it.
        title: maker and product.
        part: the FPGA, with speed grade and package.
        platform: the module of LiteX-Boards that knows its pins; empty for a simulation.
        dram: its memory. The NPU's address 0 is its first byte.
        link: the bridge to a host: ``"uart"`` or ``"etherbone"``.
        npu: the configuration that is built for it if no other is asked for.
        megahertz: clock of the whole system.
        programmer: the board's name for openFPGALoader; empty for a simulation.
    """

    name: str
    title: str
    part: str
    platform: str
    dram: Dram
    link: str
    npu: str
    megahertz: float
    programmer: str

    @property
    def configuration(self) -> Configuration:
        return configuration(self.npu)


BOARDS: dict[str, Board] = {
    one.name: one
    for one in (
        Board(
            "ulx3s-85f", "Radiona ULX3S with an ECP5-85F", "LFE5U-85F-6BG381C", "radiona_ulx3s",
            Dram("sdr", "MT48LC16M16", 32 * MIB, 16), "uart", "ecp5-85f", 60, "ulx3s",
        ),
        Board(
            "ecpix5-85f", "LambdaConcept ECPIX-5 with an ECP5-85F", "LFE5UM5G-85F-8BG554I", "lambdaconcept_ecpix5",
            Dram("ddr3", "MT41K256M16", 512 * MIB, 16), "etherbone", "ecp5-85f", 50, "ecpix5",
        ),
        Board(
            "sim", "a ULX3S in simulation", "", "",
            Dram("model", "MT48LC16M16", 32 * MIB, 16), "uart", "tiny", 40, "",
        ),
    )
}  # fmt: skip


def board(name: str) -> Board:
    """The board of that name.

    Raises:
        NotFoundError: there is none; the message lists the names.
    """
    if name not in BOARDS:
        raise NotFoundError(f"no board {name!r}; there are {', '.join(BOARDS)}")
    return BOARDS[name]
