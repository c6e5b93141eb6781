"""Which NPU fits which part, and what it would do there: the table of docs/boards.md.

Run from the project's root, with the packages of ResNet-50 and of the digits network::

    .venv/bin/python benchmarks/boards.py rn50.zip digits.zip --write
    .venv/bin/python benchmarks/boards.py rn50.zip digits.zip --rtl --write    # the boards' rows, on the gateware
    .venv/bin/python benchmarks/boards.py --placed ulx3s-85f.json --write    # what 'bitstream build' reported

Multipliers and block memories are counted (`fieldwave.npu.resources`); for the ECP5 the counts are Yosys' own. A
clock is 'placed' where nextpnr has placed and routed the whole system on that board and met it, else 'assumed'.
Latency is cycles at that clock, behind the board's memory: the gateware's own where ``--rtl`` has run them, else
the estimator's (off by less than 2 %, benchmarks/README.md).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldwave.boards import BOARDS
from fieldwave.compiler import compile_network
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.devices.rtl import RtlDevice
from fieldwave.devices.simulator import MemoryModel
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.npu.parts import part
from fieldwave.npu.resources import resources
from fieldwave.package import read_package

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "boards.json"
DOCUMENT = ROOT / "docs" / "boards.md"
BEGIN, END = "<!-- made by benchmarks/boards.py -->\n", "<!-- end -->\n"
LATENCY = 100
"""Cycles of the memory's latency."""
NETWORKS = ("ResNet-50", "digits")
PHOTO = ROOT / "tests" / "data" / "images" / "cat_346.jpg"


@dataclass(frozen=True)
class Row:
    """An NPU on a part.

    Attributes:
        npu: name of the configuration.
        part: name in `fieldwave.npu.parts`.
        megahertz: clock.
        bandwidth: of the memory, GB/s.
        board: its name where there is one; its clock and memory count then.
    """

    npu: str
    part: str
    megahertz: float
    bandwidth: float
    board: str = ""


def rows() -> list[Row]:
    """Every board with its NPU, and every card with those that are meant for it."""
    found = []
    for one in BOARDS.values():
        if one.part:
            transfers = {"sdr": 1, "ddr3": 4}[one.dram.kind]  # words of the pins in a cycle of the system's clock
            bandwidth = one.megahertz * transfers * one.dram.bits / 8 / 1e3
            found.append(Row(one.npu, "ecp5-85f", one.megahertz, bandwidth, one.name))
    for npu in ("zcu104", "kv260", "arria10-1150", "u250", "u250x2", "u250x4"):
        target = part(npu.split("x2")[0].split("x4")[0])
        found.append(Row(npu, npu.split("x2")[0].split("x4")[0], target.megahertz, target.bandwidth))
    return found


def measure(row: Row, models: dict[str, Path]) -> dict[str, Any]:
    """Counts, and milliseconds of each network."""
    npu, target = configuration(row.npu), part(row.part)
    taken = resources(npu, target)
    figures: dict[str, Any] = {
        "npu": row.npu,
        "part": target.name,
        "board": row.board,
        "array": [npu.input_lanes, npu.output_lanes, npu.pixel_lanes],
        "multipliers": [taken.multipliers, target.multipliers],
        "blocks": {b.name: [used, b.count] for b, used in zip(target.blocks, taken.blocks, strict=True)},
        "megahertz": row.megahertz,
        "bandwidth_gb_per_s": round(row.bandwidth, 3),
        "milliseconds": {},
    }
    memory = Memory(row.bandwidth * 1e3 / row.megahertz, LATENCY)
    for name, path in models.items():
        compiled = compile_network(from_onnx(read_package(path).model), npu)
        figures["milliseconds"][name] = round(
            1e3 * estimate_network(compiled, npu, memory).seconds(row.megahertz), 3
        )
    return figures


def gateware_cycles(row: Row, models: dict[str, Path]) -> dict[str, int]:
    """Cycles of one image of each network on the simulated gateware, behind memory as fast as the board's."""
    memory = MemoryModel(latency=LATENCY, bandwidth=row.bandwidth * 1e3 / row.megahertz)
    found = {}
    for name, path in models.items():
        package = read_package(path)
        with RtlDevice(npu=configuration(row.npu), memory=memory) as device:
            device.load(package)
            device.run(package.image_input(PHOTO.read_bytes()))
            found[name] = device.counters().cycles or 0
    return found


def table(kept: dict[str, Any]) -> str:
    """The rows, in Markdown."""
    lines = [
        "| NPU | array | part | multiplier blocks | block memories | clock | memory | ResNet-50 | digits |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in kept["rows"]:
        placed = _placed(kept, one)
        array = " x ".join(str(lanes) for lanes in one["array"] if lanes > 1)
        blocks = ", ".join(f"{used} of {there} {name}" for name, (used, there) in one["blocks"].items())
        where = f"{one['part']}, `{one['board']}`" if one["board"] else one["part"]
        times = [_milliseconds(one, name) for name in NETWORKS]
        clock = f"{one['megahertz']:g} MHz, {'placed' if placed else 'assumed'}"
        taken, there = one["multipliers"]
        lines.append(
            f"| `{one['npu']}` | {array} | {where} | {taken} of {there} | {blocks} "
            f"| {clock} | {one['bandwidth_gb_per_s']:g} GB/s | {times[0]} | {times[1]} |"
        )
    return "\n".join(lines) + "\n"


def _milliseconds(row: dict[str, Any], network: str) -> str:
    cycles = row.get("gateware_cycles", {}).get(network)
    value = row["milliseconds"][network] if cycles is None else cycles / row["megahertz"] / 1e3
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _placed(kept: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a bitstream of this board, NPU and clock has been built: with one that misses it there is none."""
    fingerprint = f"{configuration(row['npu']).fingerprint:016x}"
    wanted = (row["board"], fingerprint, row["megahertz"])
    return any((one["board"], one["fingerprint"], one["megahertz"]) == wanted for one in kept["placed"])


def _build(report: dict[str, Any]) -> tuple[Any, ...]:
    """What a report is of; a newer one of the same replaces it."""
    return *(report[name] for name in ("board", "fingerprint", "megahertz", "seed")), tuple(report["tools"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", type=Path, help="packages of ResNet-50 v1.5 and of the digits network"
    )
    parser.add_argument(
        "--rtl", action="store_true", help="run the boards' rows on the simulated gateware as well"
    )
    parser.add_argument("--placed", type=Path, action="append", default=[], help="a report of 'bitstream build'")
    parser.add_argument(
        "--write", action="store_true", help=f"keep the figures in {RESULTS.name} and the document"
    )
    arguments = parser.parse_args()
    kept: dict[str, Any] = {"rows": [], "placed": []}
    if RESULTS.exists():
        kept = json.loads(RESULTS.read_text())
    if arguments.models:
        models = dict(zip(NETWORKS, arguments.models, strict=True))
        kept["rows"] = [measure(row, models) for row in rows()]
        for row, figures in zip(rows(), kept["rows"], strict=True):
            if arguments.rtl and row.board:
                figures["gateware_cycles"] = gateware_cycles(row, models)
    for path in arguments.placed:
        report = json.loads(path.read_text())
        del report["folder"]
        kept["placed"] = [*(one for one in kept["placed"] if _build(one) != _build(report)), report]
    print(table(kept))
    if arguments.write:
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
        before, rest = DOCUMENT.read_text().split(BEGIN, 1)
        DOCUMENT.write_text(before + BEGIN + table(kept) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
