"""A card's project folder: the core, what surrounds it, the vendor's scripts, and what was checked of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from fieldwave.cards.card import Card
from fieldwave.cards.readme import readme
from fieldwave.cards.wrapper import ports, wrapper_verilog
from fieldwave.errors import InputError
from fieldwave.files import write_atomically
from fieldwave.npu import Configuration
from fieldwave.npu.emit import emit_verilog
from fieldwave.npu.packed import Products
from fieldwave.npu.parts import part
from fieldwave.npu.resources import fits
from fieldwave.npu.resources import resources as taken

__all__ = ["project_files", "write_project"]

NPU, WRAPPER, MODEL, WAIVERS = "rtl/npu.v", "rtl/fieldwave_npu.v", "lint/dsp48e2.v", "lint/waivers.vlt"


def write_project(
    card: Card,
    configuration: Configuration,
    folder: Path,
    *,
    progress: Callable[[str, float], None] = lambda what, fraction: None,
) -> list[Path]:
    """Write the project of ``card`` with an NPU of ``configuration`` into ``folder``; the files that it wrote.

    Equal inputs give equal bytes. What else is in the folder stays as it is.

    Raises:
        InputError: the part has less than the configuration takes, or the tool's interconnect no such port.
    """
    _check(card, configuration)
    progress(f"writing the Verilog of {configuration.input_lanes} x {configuration.output_lanes}", 0.0)
    verilog = emit_verilog(configuration, card.products)
    progress("writing the project", 0.9)
    written = []
    for name, text in project_files(card, configuration, verilog).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        written.append(path)
    return written


def project_files(card: Card, configuration: Configuration, verilog: str) -> dict[str, str]:
    """Path and text of every file; ``verilog`` is that of the core."""
    files = {
        "README.md": readme(card, configuration),
        "parameters.tcl": _parameters(card, configuration),
        "system.tcl": _script(card.system),
        "build.tcl": _script(f"{card.tool}_build.tcl"),
        NPU: verilog,
        WRAPPER: wrapper_verilog(configuration),
        WAIVERS: _script("waivers.vlt"),
    }
    if card.products == Products.DSP48E2:
        files[MODEL] = (resources.files("fieldwave.npu") / "dsp48e2.v").read_text()
    if card.tool == "quartus":
        files["rtl/top.v"] = _script("quartus_top.v")
        files["fieldwave_npu_hw.tcl"] = _script("quartus_component.tcl")
        files["pins.tcl"] = _script("quartus_pins.tcl")
        files["constraints.sdc"] = _script("quartus.sdc")
        return files
    files["constraints.xdc"] = _script(card.system.replace(".tcl", ".xdc"))
    if "synchronizer" in files["system.tcl"]:
        files["rtl/synchronizer.v"] = _script("synchronizer.v")
    return files


def _check(card: Card, configuration: Configuration) -> None:
    target = part(card.name)
    if not fits(configuration, target):
        needed = taken(configuration, target)
        blocks = ", ".join(
            f"{count} of {block.count} {block.name}"
            for count, block in zip(needed.blocks, target.blocks, strict=True)
        )
        logic = "" if needed.logic is None else f"some {needed.logic} of {target.logic} look-up tables, "
        raise InputError(
            f"{card.title} is too small for this NPU, which takes {logic}{needed.multipliers} of "
            f"{target.multipliers} multipliers, {blocks}; 'fieldwave tune' finds one that fits"
        )
    if configuration.port_bytes > 128:
        raise InputError(
            f"port_bytes must be at most 128, the widest bus of AXI4, for {card.name}, "
            f"not {configuration.port_bytes}"
        )


def _parameters(card: Card, configuration: Configuration) -> str:
    """Tcl that sets what the scripts need to know."""
    shared = [NPU, WRAPPER]
    values: dict[str, str] = {
        "project_name": f"fieldwave_{card.name.replace('-', '_')}",
        "part": card.part,
        "npu_megahertz": f"{card.megahertz:g}",
        "fingerprint": f"{configuration.fingerprint:016x}",
    }
    for window in card.windows:
        name = window.name.replace(" ", "_")
        values[f"{name}_base"], values[f"{name}_bytes"] = f"0x{window.base:x}", f"0x{window.bytes:x}"
    if card.tool == "vivado":
        sources = [*shared, *(["rtl/synchronizer.v"] if card.system == "vivado_pcie.tcl" else [])]
        values |= {"board_part": card.board_part, "board_connections": card.connections}
    else:
        sources = ["rtl/top.v"]
        bar = {window.seen_by: window.bytes.bit_length() - 1 for window in card.windows}
        values |= {
            "family": "Arria 10",
            "memory_preset": "Arria 10 GX FPGA Development Kit with DDR4 HILO",
            "registers_bits": str(bar["bar0"]),
            "window_bits": str(bar["bar2"]),
            "npu_sources": " ".join(shared),
            "bus_ports": _bus_ports(configuration),
        }
    values["sources"] = " ".join(sources)
    lines = [f"set {name} {{{value}}}" for name, value in values.items()]
    return "\n".join(
        ["# What belongs to this card and this NPU; the scripts are the same for others.", *lines, ""]
    )


def _bus_ports(configuration: Configuration) -> str:
    """Interface, port, role, direction and width of every wire of both buses, a line each."""
    lines = []
    for name, direction, bits in ports(configuration):
        interface, _, role = name.rpartition("_")
        if interface:
            lines.append(f"    {interface} {name} {role} {direction.capitalize()} {bits}")
    return "\n" + "\n".join(lines) + "\n"


def _script(name: str) -> str:
    return (resources.files("fieldwave.cards") / "scripts" / name).read_text()
