"""The NPU that ``fieldwave tune`` finds for a network on four parts.

::

    .venv/bin/python benchmarks/tune.py nets/resnet50v15.zip --write

``--write`` keeps the three best of each part in ``benchmarks/results/tune.json`` and puts the best into the table
of ``benchmarks/README.md``; ``fieldwave tune --output best.json`` and ``benchmarks/npu.py --npu best.json``
confirm one on the gateware.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fieldwave.npu.parts import part

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "tune.json"
DOCUMENT = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- made by benchmarks/tune.py -->\n", "<!-- end of tune -->\n"
PARTS = ("u250", "zcu104", "arria10-1150", "ecp5-85f")
KEPT = 3


def search(model: str, device: str) -> list[dict[str, Any]]:
    """The best configurations, as the command prints them."""
    command = [sys.executable, "-m", "fieldwave", "tune", model, "--device", device, "--top", str(KEPT), "--json"]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def table(figures: dict[str, list[dict[str, Any]]]) -> str:
    """The best of each part."""
    lines = [
        "| part | array | activations, ring | multiplier blocks | block memories | ms | of the array |",
        "|---|---|---|---|---|---|---|",
    ]
    for device, found in figures.items():
        best, target = found[0], part(device)
        one = best["configuration"]
        lanes = f" x {one['pixel_lanes']}" if one["pixel_lanes"] > 1 else ""
        banks = " + ".join(str(size >> 10) for size in one["bank_bytes"])
        blocks = ", ".join(
            f"{best['blocks_taken'][block.name]} of {block.count} {block.name}" for block in target.blocks
        )
        lines.append(
            f"| {target.name}, {best['clock_mhz']:g} MHz, {best['bandwidth_gb_per_s']:g} GB/s "
            f"| {one['input_lanes']} x {one['output_lanes']}{lanes} | {banks} KiB, {one['ring_bytes'] >> 10} KiB "
            f"| {best['multipliers_taken']} of {target.multipliers} | {blocks} "
            f"| {best['milliseconds']:.2f} | {100 * best['utilisation']:.1f} % |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a package, or a network of the zoo")
    parser.add_argument("--write", action="store_true", help="keep the figures")
    arguments = parser.parse_args()
    figures = {device: search(arguments.model, device) for device in PARTS}
    print(table(figures))
    if arguments.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
        before, rest = DOCUMENT.read_text().split(BEGIN, 1)
        DOCUMENT.write_text(before + BEGIN + table(figures) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
