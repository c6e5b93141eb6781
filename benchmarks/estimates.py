"""How far the estimator is off: cycles that it says against cycles of the gateware, on networks and memories.

Run from the project's root, with the extras ``gateware`` and ``test`` installed and the packages in one folder,
made as the head of ``benchmarks/npu.py`` says::

    .venv/bin/python benchmarks/estimates.py --packages nets --write

The estimator is a model of the units, and nothing in it is fitted to measurements. These cases take other memories
than the table of ``benchmarks/npu.py``: less bandwidth, more latency. ``--write`` keeps the rows in
``benchmarks/results/estimates.json`` and puts the table into ``docs/estimates.md``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fieldwave.compiler import compile_network
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.devices.rtl import RtlDevice
from fieldwave.devices.simulator import MemoryModel
from fieldwave.graph import from_onnx
from fieldwave.npu import Configuration, configuration
from fieldwave.package import read_package
from npu import NAMES, PHOTO, commit

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "estimates.json"
DOCUMENT = ROOT / "docs" / "estimates.md"
BEGIN, END = "<!-- made by benchmarks/estimates.py -->\n", "<!-- end of estimates -->\n"
NPUS: dict[str, Configuration] = {
    "tiny": configuration("tiny"),
    "sim16": configuration("sim16"),
    "sim32": configuration("sim32"),
    "ecp5-85f, 16 x 16": replace(configuration("ecp5-85f"), output_lanes=16),
}


@dataclass(frozen=True)
class Case:
    """A network on an NPU behind a memory of ``bandwidth`` bytes and ``latency`` cycles."""

    network: str
    npu: str
    bandwidth: float
    latency: int


CASES = (
    Case("digits", "tiny", 8, 100),
    Case("digits", "tiny", 8, 10),
    Case("digits", "tiny", 1, 100),
    Case("digits", "sim16", 16, 100),
    Case("digits", "sim16", 4, 300),
    Case("resnet50v15", "sim32", 48, 100),
    Case("resnet50v15", "sim32", 96, 400),
    Case("resnet50v15", "sim32", 8, 100),
    Case("resnet50v15", "ecp5-85f, 16 x 16", 26.7, 100),
    Case("resnet50v15", "ecp5-85f, 16 x 16", 4.5, 100),
    Case("densenet121", "sim16", 16, 100),
)


def measure(case: Case, packages: Path) -> dict[str, Any]:
    """The gateware's cycles, the estimate, and how far that is off."""
    package, npu = read_package(packages / f"{case.network}.zip"), NPUS[case.npu]
    inputs = package.image_input(PHOTO.read_bytes())
    estimate = estimate_network(
        compile_network(from_onnx(package.model), npu), npu, Memory(case.bandwidth, case.latency)
    )
    memory = MemoryModel(latency=case.latency, bandwidth=case.bandwidth)
    with RtlDevice(npu=npu, memory=memory) as device:
        device.load(package)
        device.run(inputs)
        cycles = device.counters().cycles or 0
    error = round(100 * (estimate.cycles / cycles - 1), 3)
    return {"cycles": cycles, "estimated_cycles": estimate.cycles, "error": error, "commit": commit()}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, as they were measured."""
    lines = [
        "| network | NPU | bytes a cycle | latency | cycles | estimate | off by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = NAMES.get(row["network"], row["network"])
        lines.append(
            f"| {name} | {row['npu']} | {row['bandwidth']:g} | {row['latency']} | {row['cycles']:,} "
            f"| {row['estimated_cycles']:,} | {row['error']:+.2f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", help="of the cases; all if not given")
    parser.add_argument("--packages", type=Path, required=True, help="folder with NETWORK.zip, digits among them")
    parser.add_argument("--write", action="store_true", help="keep these rows, and put the table in its place")
    arguments = parser.parse_args()
    for case in (case for case in CASES if not arguments.network or case.network in arguments.network):
        row = {**vars(case), **measure(case, arguments.packages)}
        print(json.dumps(row), flush=True)
        if arguments.write:
            rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
            kept = {Case(*(one[key] for key in vars(case))): one for one in rows} | {case: row}
            rows = [kept[one] for one in CASES if one in kept]
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
            before, rest = DOCUMENT.read_text().split(BEGIN, 1)
            DOCUMENT.write_text(before + BEGIN + table(rows) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
