"""The NPU that ``fieldwave tune`` finds for a network on four parts, and whether the gateware agrees.

Run from the project's root, with the extras ``gateware`` and ``test`` installed::

    .venv/bin/python benchmarks/tune.py nets/resnet50v15.zip --write
    .venv/bin/python benchmarks/tune.py nets/resnet50v15.zip --run ecp5-85f --write

The second command runs the best one of a part, as kept, on the cycle-exact simulation and compares the outputs
with ONNX Runtime's. ``--write`` keeps the three best of each part, the configuration with the part's name beside
them, and what was measured in ``benchmarks/results/tune.json``, and puts the best into the table of
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fieldwave.npu import Configuration
from fieldwave.npu.parts import part
from fieldwave.package import read_package
from npu import commit, measure

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "tune.json"
DOCUMENT = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- made by benchmarks/tune.py -->\n", "<!-- end of tune -->\n"
PARTS = ("u250", "zcu104", "arria10-1150", "ecp5-85f")
KEPT = 3
MEASURED = ("cycles", "milliseconds", "utilisation", "estimate_error", "identical", "simulation_seconds")


def search(model: str, device: str) -> dict[str, Any]:
    """The best configurations, and the one of the part's name at the same clock and bandwidth."""
    found = command("tune", model, "--device", device, "--top", str(KEPT))
    speed = ["--clock", str(found[0]["clock_mhz"]), "--bandwidth", str(found[0]["bandwidth_gb_per_s"])]
    (named,) = command("estimate", model, "--npu", device, *speed)
    return {
        "best": found,
        "named": {key: named[key] for key in ("npu", "milliseconds", "later_milliseconds", "utilisation")},
    }


def command(*arguments: str) -> list[dict[str, Any]]:
    """What a command of fieldwave prints as JSON."""
    line = [sys.executable, "-m", "fieldwave", *arguments, "--json"]
    printed: list[dict[str, Any]] = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)
    return printed


def npu_of(figures: dict[str, Any]) -> Any:
    """The best configuration."""
    return figures["best"][0]["configuration"]


def confirm(model: str, best: dict[str, Any]) -> dict[str, Any]:
    """The gateware's own figures."""
    values = best["configuration"]
    one = Configuration(**{**values, "bank_bytes": tuple(values["bank_bytes"])})
    row = measure(read_package(model), one, best["clock_mhz"], best["bandwidth_gb_per_s"])
    later = {"later": row["later"]} if "later" in row else {}
    return {**{key: row[key] for key in MEASURED}, **later, "commit": commit()}


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The best of each part."""
    lines = [
        "| part, planned clock | array | activations, ring | multiplier blocks | block memories | estimate "
        "| of the array | configuration of that name | measured on the gateware |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for device, one in figures.items():
        best, target = one["best"][0], part(device)
        npu = best["configuration"]
        lanes = f" x {npu['pixel_lanes']}" if npu["pixel_lanes"] > 1 else ""
        banks = " + ".join(str(size >> 10) for size in npu["bank_bytes"])
        blocks = ", ".join(
            f"{best['blocks_taken'][block.name]} of {block.count} {block.name}" for block in target.blocks
        )
        later = " from the second image on" if best["resident"] else ""
        share = best["npu_macs"] / (best["later_cycles"] * best["multipliers"])
        measured = "not run"
        if found := one.get("measured"):
            same = "outputs identical" if found["identical"] else "outputs DIFFERENT"
            error = f"estimate off by {found['estimate_error']:+.2f} %"
            measured = f"{found['milliseconds']:.2f} ms, {found['cycles']:,} cycles, {error}, {same}"
            if "later" in found:
                later_run = f"{found['later']['milliseconds']:.3f} ms, {found['later']['cycles']:,} cycles"
                measured += f"; the second image {later_run}"
        lines.append(
            f"| {target.name}, {best['clock_mhz']:g} MHz, {best['bandwidth_gb_per_s']:g} GB/s "
            f"| {npu['input_lanes']} x {npu['output_lanes']}{lanes} | {banks} KiB, {npu['ring_bytes'] >> 10} KiB "
            f"| {best['multipliers_taken']} of {target.multipliers} | {blocks} "
            f"| {best['later_milliseconds']:.2f} ms{later} | {100 * share:.1f} % "
            f"| {one['named']['later_milliseconds']:.2f} ms | {measured} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a package")
    parser.add_argument(
        "--run", metavar="PART", choices=PARTS, action="append",
        help="do not search; run the kept best one of the part on the gateware; may be repeated",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="keep the figures")
    arguments = parser.parse_args()
    kept: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    figures = dict(kept)
    for device in arguments.run or PARTS:
        if not arguments.run:
            figures[device] = search(arguments.model, device)
            earlier = kept.get(device, {})
            if "measured" in earlier and npu_of(earlier) == npu_of(figures[device]):
                figures[device]["measured"] = earlier["measured"]
        elif device in kept:
            figures[device] = {**kept[device], "measured": confirm(arguments.model, kept[device]["best"][0])}
        else:
            parser.error(f"nothing is kept of {device} yet: search first, with --write")
    print(table(figures))
    if arguments.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
        before, rest = DOCUMENT.read_text().split(BEGIN, 1)
        DOCUMENT.write_text(before + BEGIN + table(figures) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
