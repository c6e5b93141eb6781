"""The module that vendors' tools see: the core, its buses complete and marked, an active-low reset."""

from __future__ import annotations

from amaranth.lib.wiring import Out, Signature

from fieldwave.npu import Configuration
from fieldwave.npu.axi import axi4
from fieldwave.npu.registers import axi4_lite

__all__ = ["WRAPPER", "ports", "wrapper_verilog"]

WRAPPER = "fieldwave_npu"

# What AXI4 interconnects of both vendors ask for and the core has no use for: one identifier, normal memory that
# may be buffered and merged (Arm IHI 0022, A4.4), unprivileged secure data.
_CONSTANT = {"id": (1, "1'b0"), "lock": (1, "1'b0"), "cache": (4, "4'b0011"), "prot": (3, "3'b000")}
_CHANNELS = ("aw", "ar")
_IGNORED = {"bid": 1, "rid": 1}


def ports(configuration: Configuration) -> list[tuple[str, str, int]]:
    """Name, direction and width of every port of the wrapper, in order."""
    found = [("aclk", "input", 1), ("aresetn", "input", 1), ("irq", "output", 1)]
    for prefix, signature, master in _buses(configuration):
        for name, member in signature.members.items():
            outward = (member.flow == Out) == master
            found.append((f"{prefix}_{name}", "output" if outward else "input", _width(member)))
        if master:
            constants = [(f"{prefix}_{channel}{name}", "output", bits) for channel in _CHANNELS
                         for name, (bits, _) in _CONSTANT.items()]  # fmt: skip
            found += constants + [(f"{prefix}_{name}", "input", bits) for name, bits in _IGNORED.items()]
        else:
            found += [(f"{prefix}_{channel}prot", "input", 3) for channel in _CHANNELS]
    return found


def wrapper_verilog(configuration: Configuration) -> str:
    """Verilog-2001 of module ``fieldwave_npu`` around module ``npu``."""
    declared = []
    for name, direction, bits in ports(configuration):
        width = f" [{bits - 1}:0]" if bits > 1 else ""
        declared.append(f"    {_attributes(name)}\n    {direction} wire{width} {name}")
    inner = [("clk", "aclk"), ("rst", "!aresetn"), ("irq", "irq")]
    for prefix, signature, _ in _buses(configuration):
        inner += [(f"{prefix}_{name}", f"{prefix}_{name}") for name in signature.members]
    constants = "\n".join(
        f"    assign m_axi_{channel}{name} = {value};"
        for channel in _CHANNELS
        for name, (_, value) in _CONSTANT.items()
    )
    declarations = ",\n".join(declared)
    connections = ",\n".join(f"        .{port}({wire})" for port, wire in inner)
    ignored = ", ".join([*(f"m_axi_{name}" for name in _IGNORED), *(f"s_axi_{name}prot" for name in _CHANNELS)])
    return f"""\
// The NPU as vendors' tools see it: complete AXI buses, marked for block designs, and a reset that is low.
module {WRAPPER} (
{declarations}
);
{constants}

    // One identifier comes back as it went; protection is for those who have any.
    wire unused = &{{1'b0, {ignored}}};

    npu core (
{connections}
    );
endmodule
"""


def _buses(configuration: Configuration) -> list[tuple[str, Signature, bool]]:
    return [("m_axi", axi4(configuration.port_bytes), True), ("s_axi", axi4_lite(), False)]


def _width(member: object) -> int:
    from amaranth.hdl import Shape

    return int(Shape.cast(member.shape).width)  # type: ignore[attr-defined]


def _attributes(name: str) -> str:
    """What block designs of Vivado know a port by (AMD UG994); others ignore it."""
    kinds = {
        "aclk": ("clock:1.0 aclk CLK", "ASSOCIATED_BUSIF m_axi:s_axi, ASSOCIATED_RESET aresetn"),
        "aresetn": ("reset:1.0 aresetn RST", "POLARITY ACTIVE_LOW"),
        "irq": ("interrupt:1.0 irq INTERRUPT", "SENSITIVITY LEVEL_HIGH"),
    }
    if name in kinds:
        kind, parameter = kinds[name]
        return (
            f'(* X_INTERFACE_INFO = "xilinx.com:signal:{kind}" *)\n    (* X_INTERFACE_PARAMETER = "{parameter}" *)'
        )
    prefix, signal = name.rsplit("_", 1)
    return f'(* X_INTERFACE_INFO = "xilinx.com:interface:aximm:1.0 {prefix} {signal.upper()}" *)'
