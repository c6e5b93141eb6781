"""A system around the NPU, made of LiteX: main memory, the way to a host, and the NPU as a black box of Verilog.

    bridge (UART or Ethernet) --+-- bus, 32 bits --+-- main memory <=== NPU, as wide as its port
                                |                  +-- NPU's registers
                            witness                +-- identifier, facts, controller of memory

What LiteX has is not written again: memory controller, bridges, bus, clocks. Needs the extra ``boards``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litedram.frontend.axi import LiteDRAMAXI2Native
from litex.gen import LiteXModule
from litex.soc.cores.uart import UARTBone
from litex.soc.integration.soc import SoCRegion
from litex.soc.interconnect.axi import AXIInterface, AXILiteInterface
from litex.soc.interconnect.csr import CSRStatus
from migen import ClockSignal, Instance, ResetSignal, Signal

from fieldwave.boards.addresses import NPU, NPU_BYTES
from fieldwave.boards.busregister import BusRegister
from fieldwave.boards.startup import Startup, startup_steps
from fieldwave.boards.witness import Witness
from fieldwave.npu import Configuration

__all__ = ["Facts", "add_host_link", "add_memory", "add_npu", "identifier", "leveling", "soc_options"]

BURST_WORDS = 255
"""Words in a record of Etherbone, at most."""


def identifier(board: str, configuration: Configuration) -> str:
    """The text that a board says of itself; `fieldwave.devices.board.identity` reads it."""
    return f"fieldwave {board} {configuration.fingerprint:016x}"


def soc_options(board: str, configuration: Configuration) -> dict[str, Any]:
    """The arguments of LiteX's SoCCore that are the same on every board: nothing but the bus and an identifier.

    Its class says ``csr_map = CSR_SLOTS`` (addresses.py), too.
    """
    return {
        "cpu_type": None,
        "integrated_sram_size": 0,
        "with_uart": False,
        "with_timer": False,
        "ident": identifier(board, configuration),
        "ident_version": False,
        "bus_timeout": 1e4,
    }


def leveling(settings: Any) -> int:
    """What a host has to know of a memory's PHY in order to find the delays of its reads; 0 if it has none.

    Bytes from the lowest: byte lanes; phases, phase of reads, phase of writes (2 bits each); delays; bit slips.

    Args:
        settings: LiteDRAM's `PhySettings`.
    """
    if not settings.read_leveling:
        return 0
    phases = settings.nphases - 1 | settings.rdphase << 2 | settings.wrphase << 4
    return int(settings.databits // 8 | phases << 8 | settings.delays << 16 | settings.bitslips << 24)


class Facts(LiteXModule):
    """What a host has to know of a board.

    Parameters:
        clock: of the NPU, in hertz.
        memory_bytes: size of main memory.
        starting: the memory chip is being started up.
        levels: see `leveling`.
    """

    def __init__(self, clock: int, memory_bytes: int, starting: Signal, levels: int) -> None:
        self.clock = CSRStatus(32, description="Clock in hertz.")
        self.memory = CSRStatus(32, description="Bytes of main memory.")
        self.starting = CSRStatus(1, description="The memory chip is being started up.")
        self.leveling = CSRStatus(32, description="Byte lanes, phases, delays and bit slips of the memory's PHY.")
        self.comb += [
            self.clock.status.eq(clock),
            self.memory.status.eq(memory_bytes),
            self.starting.status.eq(starting),
            self.leveling.status.eq(levels),
        ]


def add_memory(soc: Any, phy: Any, module: Any) -> None:
    """Main memory, started up after every reset, and what a host has to know of it.

    Args:
        soc: LiteX's SoCCore.
        phy: the memory's PHY.
        module: the chip, as LiteDRAM knows it.
    """
    soc.add_sdram("sdram", phy=phy, module=module, l2_cache_size=0)
    soc.startup = Startup(soc.sdram.dfii.ext_dfi, startup_steps(phy.settings, module.timing_settings))
    soc.comb += soc.sdram.dfii.ext_dfi_sel.eq(soc.startup.selected)
    size = soc.bus.regions["main_ram"].size
    soc.facts = Facts(int(soc.sys_clk_freq), size, soc.startup.selected, leveling(phy.settings))


def add_npu(soc: Any, configuration: Configuration, verilog: Path | None) -> None:
    """The NPU behind main memory (`add_memory`, past whose caches it would write), its registers on the bus.

    Args:
        soc: LiteX's SoCCore.
        verilog: what `fieldwave.npu.emit` has written; None where the caller adds it.
    """
    memory = soc.bus.regions["main_ram"]
    master = AXIInterface(data_width=configuration.port_bits, address_width=32, id_width=1)
    control = AXILiteInterface(data_width=32, address_width=32)
    port = soc.sdram.crossbar.get_port(data_width=configuration.port_bits)
    soc.npu_memory = LiteDRAMAXI2Native(master, port, base_address=memory.origin)
    soc.specials += Instance("npu", **_ports(master, control))
    soc.bus.add_slave("npu", control, SoCRegion(origin=NPU, size=NPU_BYTES, cached=False))
    if verilog is not None:
        soc.platform.add_source(str(verilog))


def add_host_link(soc: Any, kind: str, **options: Any) -> None:
    """A bridge to the host, and the witness of what it does.

    Args:
        kind: ``"uart"`` or ``"etherbone"``.
        options: of LiteX's `add_uartbone`, or a ``phy`` that takes the place of a UART's; of `add_etherbone`.
    """
    if "phy" in options and kind == "uart":
        soc.bridge_phy = options["phy"]
        soc.bridge = UARTBone(soc.bridge_phy, soc.sys_clk_freq, address_width=soc.bus.address_width)
        soc.bus.add_master("bridge", soc.bridge.wishbone)
    elif kind == "uart":
        soc.add_uartbone(name="bridge", **options)
    else:
        soc.add_etherbone(name="bridge", buffer_depth=BURST_WORDS + 1, **options)
    soc.bus_register = BusRegister(soc.bus.masters["bridge"])
    soc.bus.masters["bridge"] = soc.bus_register.bus
    soc.witness = Witness(soc.bus_register.bus)


def _ports(master: AXIInterface, control: AXILiteInterface) -> dict[str, Any]:
    ports: dict[str, Any] = {"i_clk": ClockSignal("sys"), "i_rst": ResetSignal("sys")}
    channels = {
        "aw": ("addr", "len", "size", "burst"), "w": ("data", "strb", "last"), "b": (),
        "ar": ("addr", "len", "size", "burst"), "r": (),
    }  # fmt: skip
    answers: dict[str, tuple[str, ...]] = {"b": ("resp",), "r": ("data", "resp", "last")}
    lite = {"aw": ("addr",), "w": ("data", "strb"), "b": (), "ar": ("addr",), "r": ()}
    lite_answers: dict[str, tuple[str, ...]] = {"b": ("resp",), "r": ("data", "resp")}
    for prefix, bus, asked, told, out, into in (
        ("m_axi", master, channels, answers, "o", "i"),
        ("s_axi", control, lite, lite_answers, "i", "o"),
    ):
        for channel in asked:
            signals = getattr(bus, channel)
            forth, back = (into, out) if channel in told else (out, into)
            ports[f"{forth}_{prefix}_{channel}valid"] = signals.valid
            ports[f"{back}_{prefix}_{channel}ready"] = signals.ready
            for name in (*asked[channel], *told.get(channel, ())):
                ports[f"{forth}_{prefix}_{channel}{name}"] = getattr(signals, name)
    return ports
