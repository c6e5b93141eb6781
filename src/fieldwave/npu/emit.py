"""Verilog of a configuration: the same text for simulation, for Yosys and for vendor tools.

Amaranth's own way to Verilog ends with an unconditional assignment to every register, its condition hidden in the
value. Here Yosys also looks for the enables and resets of registers and writes ``if (enable) register <= value``,
which a simulator can skip, and sign extensions become replications instead of lists of equal bits.
"""

from __future__ import annotations

import re
from typing import Any

from amaranth import ClockDomain, Elaboratable, Module, Signal
from amaranth._toolchain.yosys import find_yosys
from amaranth.back import rtlil
from amaranth.hdl._ir import PortDirection
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from fieldwave.npu.config import Configuration
from fieldwave.npu.core import Npu
from fieldwave.npu.packed import MODULE, PackedProducts, Products

__all__ = ["emit_verilog"]

# What remains of a memory's initial content after _Platform.
_MEMORY_CONTENT = re.compile(r"^  cell \$meminit_v2 .*?^  end\n", re.MULTILINE | re.DOTALL)

_YOSYS_VERSION = (0, 40)
_YOSYS = """read_rtlil <<rtlil
{rtlil}
rtlil
proc -norom
opt_expr
opt_clean
opt_dff
opt_clean
memory_collect
{attributes}
write_verilog -norename
"""
_ATTRIBUTES = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")

# A bit (x[7], or \\x.y [7] with an escaped name) that is repeated in a concatenation.
_EQUAL_BITS = re.compile(r"((?:\\\S+ |[A-Za-z_]\w*)\[\d+\])((?:, \1)+)(?=[, ])")


def emit_verilog(configuration: Configuration, products: Products = Products.PLAIN) -> str:
    """Verilog-2005 of the core: module ``npu`` with ``clk``, ``rst``, ``m_axi_*``, ``s_axi_*`` and ``irq``.

    ``products`` says how the array multiplies; cycles and bits do not depend on it.
    """
    platform = _Platform(products)
    top = _Top(Npu(configuration))
    texts = [rtlil.convert(top, name="npu", platform=platform, ports=top.ports, emit_src=False)]
    if products == Products.DSP48E2:
        texts.append(_packed_products())
    return "".join(map(_to_verilog, texts))


def _packed_products() -> str:
    """RTLIL of the module that the array instantiates for two products in a DSP48E2."""
    unit, clock = PackedProducts(primitive=True), ClockDomain("sync", reset_less=True)
    m = Module()
    m.domains.sync, m.submodules.products = clock, unit
    ports: dict[str, Any] = {"clk": (clock.clk, PortDirection.Input)}
    for path, member, value in unit.signature.flatten(unit):
        ports[str(path[0])] = (value, PortDirection.Input if member.flow == In else PortDirection.Output)
    return str(rtlil.convert(m, name=MODULE, ports=ports, emit_src=False))


def _to_verilog(text: str) -> str:
    remove = " ".join(f"-remove {name}" for name in _ATTRIBUTES)
    script = _YOSYS.format(
        rtlil=_MEMORY_CONTENT.sub("", text), attributes=f"attrmap {remove}\nattrmap -modattr {remove}"
    )
    yosys = find_yosys(lambda version: version >= _YOSYS_VERSION)
    written = yosys.run(["-q", "-"], script, ignore_warnings=True)
    return _EQUAL_BITS.sub(lambda bits: f"{{{1 + bits[2].count(bits[1])}{{{bits[1]}}}}}", written)


class _Platform:
    """How the array multiplies, and memories without initial content: ours may start with anything.

    Amaranth writes zeros instead, bit by bit; for megabytes of memory that is most of the time that it, and the
    tools behind it, take.
    """

    def __init__(self, products: Products) -> None:
        self.products = products

    def get_memory(self, memory: Memory) -> Any:
        memory.data.init._raw = ()
        return memory.elaborate(None)


class _Top(Elaboratable):
    """The core with a registered reset, and port names by which vendor tools recognise the buses."""

    def __init__(self, npu: Npu) -> None:
        self.npu = npu
        self.outside = ClockDomain("outside", reset_less=True)
        self.sync = ClockDomain("sync")
        self.rst = Signal()
        self.ports: dict[str, Any] = {
            "clk": (self.outside.clk, PortDirection.Input),
            "rst": (self.rst, PortDirection.Input),
        }
        prefixes = {"memory": "m_axi", "control": "s_axi"}
        for path, member, value in npu.signature.flatten(npu):
            name = "_".join(prefixes.get(str(part), str(part)) for part in path)
            self.ports[name] = (value, PortDirection.Input if member.flow == In else PortDirection.Output)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains += self.outside, self.sync
        self.sync.clk = self.outside.clk
        m.d.outside += self.sync.rst.eq(self.rst)
        m.submodules.core = self.npu
        return m
