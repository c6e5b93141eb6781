"""Verilog of a configuration: the same text for simulation, for Yosys and for vendor tools."""

from __future__ import annotations

import re

from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.hdl._ir import PortDirection
from amaranth.lib.wiring import In

from fieldwave.npu.config import Configuration
from fieldwave.npu.core import Npu

__all__ = ["emit_verilog"]

# Amaranth gives every memory an initial content. All of ours may start with anything, and a megabyte of zeros in
# the text is most of the time that the tools behind it take.
_MEMORY_CONTENT = re.compile(r"^  cell \$meminit_v2 .*?^  end\n", re.MULTILINE | re.DOTALL)


def emit_verilog(configuration: Configuration) -> str:
    """Verilog-2005 of the core: module ``npu`` with ``clk``, ``rst``, ``m_axi_*``, ``s_axi_*`` and ``irq``."""
    npu = Npu(configuration)
    text = rtlil.convert(npu, name="npu", ports=_ports(npu), emit_src=False)
    return str(verilog._convert_rtlil_text(_MEMORY_CONTENT.sub("", text), strip_internal_attrs=True))


def _ports(npu: Npu) -> dict[str, Any]:
    """Port names by which vendor tools recognise the buses."""
    prefixes = {"memory": "m_axi", "control": "s_axi"}
    ports = {}
    for path, member, value in npu.signature.flatten(npu):
        name = "_".join(prefixes.get(str(part), str(part)) for part in path)
        ports[name] = (value, PortDirection.Input if member.flow == In else PortDirection.Output)
    return ports
