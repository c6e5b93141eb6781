"""The cards: which part, which way to its memory and to a host, and which scripts build it."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.errors import NotFoundError
from fieldwave.npu.packed import Products

__all__ = ["CARDS", "Card", "Window", "card"]

GIB = 1 << 30


@dataclass(frozen=True)
class Window:
    """A range of addresses.

    Attributes:
        name: what is there: ``"memory"`` or ``"registers"``.
        seen_by: who sees it there: ``"npu"``, or the host by its way in.
        base, bytes: first address, and how many.
    """

    name: str
    seen_by: str
    base: int
    bytes: int


@dataclass(frozen=True)
class Card:
    """A card or board that only its vendor's tool can build for.

    Attributes:
        name: by which commands know it; also that of its part and of the configuration it is built with.
        title: maker and product.
        tool: ``"vivado"`` or ``"quartus"``.
        part: the FPGA, as the tool names it.
        board_part: the board file that knows pins and memory; empty where the scripts name the pins.
        connections: carriers that the board file is plugged into.
        system: the script that connects everything.
        megahertz: clock of the NPU that the project asks for.
        port_gigabytes: what the way to memory carries at that clock, in GB/s, peak.
        link: the host's way in.
        windows: the address map.
        products: how the array multiplies.
    """

    name: str
    title: str
    tool: str
    part: str
    board_part: str
    connections: str
    system: str
    megahertz: float
    port_gigabytes: float
    link: str
    windows: tuple[Window, ...]
    products: Products


_ZYNQ = (
    Window("memory", "npu", 0, 2 * GIB),
    Window("memory", "processor", 0, 2 * GIB),
    Window("registers", "processor", 0xA000_0000, 0x10000),
)

CARDS: dict[str, Card] = {
    one.name: one
    for one in (
        Card(
            "u250", "AMD Alveo U250", "vivado", "xcu250-figd2104-2L-e", "xilinx.com:au250:part0:1.3", "",
            "vivado_pcie.tcl", 300, 19.2, "PCIe 3.0 x16 (XDMA)",
            (
                Window("memory", "npu", 0, 16 * GIB),
                Window("memory", "dma", 0, 16 * GIB),
                Window("registers", "bar0", 0, 0x10000),
                Window("memory controller", "bar0", 0x10000, 0x10000),
            ),
            Products.DSP48E2,
        ),
        Card(
            "zcu104", "AMD ZCU104", "vivado", "xczu7ev-ffvc1156-2-e", "xilinx.com:zcu104:part0:1.1", "",
            "vivado_zynq.tcl", 300, 4.8, "the processors on the chip (AXI)", _ZYNQ, Products.DSP48E2,
        ),
        Card(
            "kv260", "AMD Kria KV260", "vivado", "xck26-sfvc784-2LV-c", "xilinx.com:kv260_som:part0:1.4",
            "som240_1_connector xilinx.com:kv260_carrier:som240_1_connector:1.3",
            "vivado_zynq.tcl", 300, 4.8, "the processors on the chip (AXI)", _ZYNQ, Products.DSP48E2,
        ),
        Card(
            "arria10-1150", "Intel Arria 10 GX FPGA Development Kit, DDR4 HiLo", "quartus", "10AX115S2F45I1SG", "",
            "", "quartus_system.tcl", 266.667, 17.0, "PCIe 2.0 x8 (Avalon-MM)",
            (
                Window("memory", "npu", 0, 2 * GIB),
                Window("registers", "bar0", 0, 0x4000),
                Window("memory", "bar2", 0, GIB // 4),
            ),
            Products.PLAIN,
        ),
    )
}  # fmt: skip


def card(name: str) -> Card:
    """The card of that name.

    Raises:
        NotFoundError: there is none; the message lists the names.
    """
    if name not in CARDS:
        raise NotFoundError(f"no card {name!r}; there are {', '.join(CARDS)}")
    return CARDS[name]
