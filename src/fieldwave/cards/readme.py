"""The README of a project folder: the commands, the address map, what was checked and what was not."""

from __future__ import annotations

from importlib import resources
from string import Template

from fieldwave.cards.card import Card
from fieldwave.npu import Configuration
from fieldwave.npu.packed import Products
from fieldwave.npu.parts import part
from fieldwave.npu.resources import resources as taken

__all__ = ["readme"]

_COMMANDS = {
    "vivado": """\
vivado -mode batch -source build.tcl -tclargs design    # minutes: Vivado checks the block design
vivado -mode batch -source build.tcl                    # hours: reports/, and the bitstream in a .xsa""",
    "quartus": """\
qsys-script --script=system.tcl --search-path="./,$"                    # Platform Designer checks the system
qsys-generate system.qsys --synthesis=VERILOG --search-path="./,$"
quartus_sh -t build.tcl                                                 # hours: output/*.sof and reports""",
}
_NEEDED = {
    "vivado": "Vivado 2022.1 or later with the part's licence, and AMD's board file for it (XHub, or Vivado's "
    "installer).",
    "quartus": "Quartus Prime Pro 18.1 or later with the part's licence.",
}
_UNCHECKED = {
    "vivado": """\
- Nothing here has been through Vivado: no open tool places and routes this part. The clock is a plan.
- Names of AMD's IP, their pins, parameters and address segments are those of AMD's guides and of public designs
  that use them; the stand-ins that ran these scripts know what this project knows.
- Pins, and the memory's timing, come from AMD's board file.
- DSP48E2 is simulated by `lint/dsp48e2.v`, which was written after UG579; AMD's own model was not at hand.""",
    "quartus": """\
- Nothing here has been through Quartus: no open tool knows this part. The clock is the memory controller's.
- Names of Intel's IP, their interfaces and parameters are those of Intel's guides and of public designs that use
  them; the stand-ins that ran these scripts know what this project knows. The name of the memory's preset is that
  of the vendor's tool of 2018.
- Pins are those of Intel's reference design for the kit.
- That Quartus makes two products of 8 x 8 in a DSP block (18 x 19 each) is what its guide says (683332).""",
}
_WAYS = {
    "u250": "`dma`: XDMA's devices of Linux's driver (`/dev/xdma0_h2c_0`, `_c2h_0`); `bar0`: `/dev/xdma0_user`.",
    "zcu104": "`processor`: `/dev/mem`, or a UIO device and a reserved range of memory.",
    "kv260": "`processor`: `/dev/mem`, or a UIO device and a reserved range of memory.",
    "arria10-1150": "`bar0`, `bar2`: `resource0` and `resource2` of the device below `/sys/bus/pci/devices`. A "
    "program reaches the window's memory only; what the NPU reads must be there.",
}


def readme(card: Card, configuration: Configuration) -> str:
    target, c = part(card.name), configuration
    needed = taken(c, target)
    blocks = "".join(
        f", {count} of {block.count} {block.name}"
        for count, block in zip(needed.blocks, target.blocks, strict=True)
    )
    windows = "\n".join(
        f"| {window.name} | {window.seen_by} | `0x{window.base:x}` | {_size(window.bytes)} |"
        for window in card.windows
    )
    lanes = f" x {c.pixel_lanes}" if c.pixel_lanes > 1 else ""
    model = " lint/dsp48e2.v" if card.products == Products.DSP48E2 else ""
    rest = " rtl/synchronizer.v" if card.link.startswith("PCIe") and card.tool == "vivado" else ""
    text = (resources.files("fieldwave.cards") / "scripts" / "readme.md").read_text()
    return Template(text).substitute(
        title=card.title,
        array=f"{c.input_lanes} x {c.output_lanes}{lanes}",
        fingerprint=f"{c.fingerprint:016x}",
        needed=_NEEDED[card.tool],
        commands=_COMMANDS[card.tool],
        megahertz=f"{card.megahertz:g}",
        windows=windows,
        ways=_WAYS[card.name],
        link=card.link,
        taken=f"{needed.multipliers} of {target.multipliers} multipliers{blocks}",
        products=_products(card),
        port_bits=8 * c.port_bytes,
        gigabytes=f"{card.port_gigabytes:g}",
        model=model,
        rest=rest,
        unchecked=_UNCHECKED[card.tool],
    )


def _products(card: Card) -> str:
    if card.products == Products.DSP48E2:
        return "The array has two products in a DSP48E2 (WP486)."
    return "The array's products are inferred, two in a DSP block."


def _size(size: int) -> str:
    for bits, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >> bits:
            return f"{size >> bits} {unit}"
    return f"{size} B"
