"""Every network compiled for every named NPU: seconds, memory, and whether the program is the same each time.

Run from the project's root, with the extra ``convert`` installed and the packages in one folder, made as the head
of ``benchmarks/npu.py`` says::

    .venv/bin/python benchmarks/compile.py --packages nets --write
    .venv/bin/python benchmarks/compile.py resnet50v15 --npu sim32 --packages nets

Each compilation has a process of its own, whose peak memory is the interpreter's, the package's and the compiler's
together, and a seed of its own for Python's hashes: what two of them write must be the same bytes. ``--write``
keeps the figures in ``benchmarks/results/compile.json`` and puts the table into ``docs/networks.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldwave.compiler import compile_network, write_program
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.errors import ModelError
from fieldwave.graph import from_onnx
from fieldwave.npu import CONFIGURATIONS, configuration
from fieldwave.package import read_package

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "compile.json"
DOCUMENT = ROOT / "docs" / "networks.md"
BEGIN, END = "<!-- made by benchmarks/compile.py -->\n", "<!-- end of compile -->\n"
NAMES = {
    "resnet50v15": "ResNet-50 v1.5",
    "resnet152": "ResNet-152",
    "densenet121": "DenseNet-121",
    "vgg16": "VGG-16",
    "ssd_vgg": "SSD-VGG-300",
}
MEMORY = Memory(96.0, 100)
"""19.2 GB/s at 200 MHz."""
TWICE = "sim32"
"""The NPU for which everything is compiled a second time, and compared."""


def compiled_here(path: Path, npu: str) -> dict[str, Any]:
    """One compilation, in this process."""
    package, one = read_package(path), configuration(npu)
    begin, processor = time.perf_counter(), time.process_time()
    try:
        compiled = compile_network(from_onnx(package.model), one)
    except ModelError as error:
        return {"refused": str(error)}
    row = {
        "seconds": round(time.perf_counter() - begin, 2),
        "processor_seconds": round(time.process_time() - processor, 2),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        "program": hashlib.sha256(write_program(compiled.program)).hexdigest(),
    }
    estimate = estimate_network(compiled, one, MEMORY)
    share = round(100 * estimate.npu_macs / estimate.macs, 3)
    return {**row, "utilisation": round(100 * estimate.utilisation, 1), "macs_on_npu": share}


def compiled_apart(path: Path, npu: str, seed: int) -> dict[str, Any]:
    """One compilation, in a process of its own."""
    command = [sys.executable, __file__, path.stem, "--npu", npu, "--packages", str(path.parent), "--here"]
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout
    row: dict[str, Any] = json.loads(printed)
    return row


def measure(path: Path, npu: str) -> dict[str, Any]:
    """The row of one network and NPU; the shorter time where it is compiled twice."""
    begin = os.getloadavg()[0]
    row = compiled_apart(path, npu, 1)
    if npu == TWICE:
        again = compiled_apart(path, npu, 2)
        times = {key: min(row[key], again[key]) for key in ("seconds", "processor_seconds")}
        row = {**row, **times, "same_again": row["program"] == again["program"]}
    return {**row, "load_before": round(begin, 1)}


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Every network on every NPU, and what the compilation takes."""
    npus = [npu for npu in CONFIGURATIONS if any(npu in one for one in figures.values())]
    lines = [f"| network | {' | '.join(f'`{npu}`' for npu in npus)} | compiled in | peak memory |"]
    lines.append("|---" * (len(npus) + 3) + "|")
    refusals: list[str] = []
    for name, label in NAMES.items():
        if not (one := figures.get(name)):
            continue
        cells = []
        for npu in npus:
            row = one.get(npu, {})
            if "refused" in row:
                refusals.append(f"[{len(refusals) + 1}] {label} for `{npu}`: {row['refused']}.")
                cells.append(f"no [{len(refusals)}]")
            else:
                cells.append(f"{row['utilisation']:.1f} %" if row else "")
        made = [row for row in one.values() if "seconds" in row]
        seconds = [row["processor_seconds"] for row in made]
        peak = max(row["peak_megabytes"] for row in made)
        lines.append(f"| {label} | {' | '.join(cells)} | {min(seconds):.1f} to {max(seconds):.1f} s | {peak} MB |")
    return "\n".join(lines) + "\n" + "".join(f"\n{refusal}\n" for refusal in refusals)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="*", help=f"packages, by their files' names; all of {', '.join(NAMES)}")
    parser.add_argument("--npu", action="append", help="may be repeated; all that have a name if not given")
    parser.add_argument("--packages", type=Path, required=True, help="folder with NETWORK.zip")
    parser.add_argument("--here", action="store_true", help="one compilation, in this process")
    parser.add_argument("--write", action="store_true", help="keep these rows, and put the table in its place")
    arguments = parser.parse_args()
    npus = arguments.npu or list(CONFIGURATIONS)
    if arguments.here:
        print(json.dumps(compiled_here(arguments.packages / f"{arguments.network[0]}.zip", npus[0])))
        return
    for name in arguments.network or NAMES:
        for npu in npus:
            row = measure(arguments.packages / f"{name}.zip", npu)
            print(name, npu, json.dumps(row), flush=True)
            if arguments.write:
                figures = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                figures.setdefault(name, {})[npu] = row
                RESULTS.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
                before, rest = DOCUMENT.read_text().split(BEGIN, 1)
                DOCUMENT.write_text(before + BEGIN + table(figures) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
