"""Whole networks on the simulated NPU, cycle by cycle: latency, share of the array, error of the estimate.

Run from the project's root, with the extras ``gateware`` and ``test`` installed and the packages in one folder::

    fieldwave convert resnet50 --weights random:0 --calibration tests/data/images --output nets/resnet50.zip
    fieldwave convert densenet121 --weights random:0 --calibration two_photographs --method percentile \\
        --percentile 99.9 --output nets/densenet121.zip   # resnet152 and ssd_vgg alike
    .venv/bin/python benchmarks/npu.py --packages nets --write

Random weights make tensors with long tails; so calibrated, at least nine of ten tensors of every network hold 64
or more distinct values, as those of trained networks do. (The two photographs are cat_346.jpg and cat_347.jpg.)

Each network runs one real photograph from start to done with a cold weight ring: input and output pass through the
same memory port, 96 bytes a cycle (19.2 GB/s at 200 MHz) with 100 cycles of latency. Only the multiply-accumulates
of the ONNX graph count. The outputs are compared with ONNX Runtime's. Where the ring holds all weights, the
photograph runs twice, and the second time is a row of its own. ``--write`` keeps the rows in
``benchmarks/results/npu.json`` and puts the table into ``benchmarks/README.md``.

Arrays of several pixels (``--npu 64x64x2``, ``--npu 64x64x4``) run only when asked for, at 300 MHz and 77 GB/s:
the simulator of 8192 multipliers takes twenty minutes to build on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler import Compiled, compile_network
from fieldwave.compiler.estimate import Memory, NetworkEstimate, estimate_network
from fieldwave.compiler.operations import count_macs
from fieldwave.compiler.timeline import Timeline
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.sections import Network
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.graph import from_onnx
from fieldwave.npu import Configuration, configuration
from fieldwave.package import Package, read_package
from fieldwave.report.timelines import Recorder

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "tests" / "data" / "images" / "cat_346.jpg"
RESULTS = ROOT / "benchmarks" / "results" / "npu.json"
DOCUMENT = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- made by benchmarks/npu.py -->\n", "<!-- end -->\n"
LATENCY = 100
NPUS: dict[str, Configuration] = {
    "32x32": configuration("sim32"),
    "64x32": replace(configuration("zcu104"), port_bytes=128),
    "64x64": configuration("sim64"),
    "64x64x2": configuration("u250x2"),
    "64x64x4": configuration("u250x4"),
}
USUAL = 200.0, 19.2
BOARDS = {"64x64x2": (300.0, 77.0), "64x64x4": (300.0, 77.0)}
"""MHz and GB/s of the arrays that are not measured at the usual ones."""
NAMES = {
    "resnet50v15": "ResNet-50 v1.5",
    "resnet50": "ResNet-50, slim",
    "resnet152": "ResNet-152",
    "densenet121": "DenseNet-121",
    "vgg16": "VGG-16",
    "ssd_vgg": "SSD-VGG-300",
}
ARRAYS = {"densenet121": ("32x32", "64x32")}
"""What a network is measured on where that is not 32x32 and 64x64: the others' lanes would be half empty."""
GOALS = {
    "resnet50v15": {"32x32": 97.0, "64x64": 94.0},
    "resnet152": {"32x32": 98.0, "64x64": 96.0},
    "vgg16": {"32x32": 97.0, "64x64": 96.0},
    "densenet121": {"32x32": 95.0, "64x32": 91.0},
    "ssd_vgg": {"32x32": 96.0, "64x64": 94.0},
}
"""Percent of the array; VGG-16's are for its convolutions."""
MILLISECONDS = {"resnet50v15": {"64x64x2": 1.8, "64x64x4": 0.9}}
"""Goals of latency."""


def measure(package: Package, npu: Configuration, clock: float, bandwidth: float) -> dict[str, Any]:
    """One network on one NPU, at ``clock`` MHz with ``bandwidth`` GB/s."""
    per_cycle = bandwidth * 1e3 / clock
    inputs, truth = reference(package)
    begin = time.perf_counter()
    compiled = compile_network(from_onnx(package.model), npu)
    compile_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    estimate = estimate_network(compiled, npu, Memory(per_cycle, LATENCY))
    estimate_seconds = time.perf_counter() - begin
    images = 2 if estimate.later else 1
    (timelines, *later), outputs, seconds = run(compiled, package, inputs, per_cycle, images)
    cycles = sum(timeline.cycles for timeline in timelines)
    return {
        "clock_mhz": clock,
        "bandwidth_gb_per_s": bandwidth,
        "cycles": cycles,
        "milliseconds": round(cycles / clock / 1e3, 3),
        "utilisation": round(100 * estimate.npu_macs / (cycles * npu.multipliers), 2),
        "estimated_cycles": estimate.cycles,
        "estimate_error": round(100 * (estimate.cycles / cycles - 1), 3),
        "identical": all(np.array_equal(one[name], value) for one in outputs for name, value in truth.items()),
        "macs": estimate.macs,
        "macs_on_npu": round(100 * estimate.npu_macs / estimate.macs, 3),
        "bytes_read": sum(timeline.bytes_read for timeline in timelines),
        "bytes_written": sum(timeline.bytes_written for timeline in timelines),
        "activation_bytes": sum(npu.bank_bytes),
        "compile_seconds": round(compile_seconds, 1),
        "estimate_seconds": round(estimate_seconds, 1),
        "simulation_seconds": round(seconds, 1),
        **fully_connected(compiled, timelines[0], npu, per_cycle),
        **({"later": later_run(later[0][0], estimate, clock)} if later else {}),
    }


def later_run(timeline: Timeline, estimate: NetworkEstimate, clock: float) -> dict[str, Any]:
    """The second image, whose weights are in the ring."""
    return {
        **_later(estimate, timeline.cycles, clock),
        "cycles": timeline.cycles,
        "estimate_error": round(100 * (estimate.later_cycles / timeline.cycles - 1), 3),
        "bytes_read": timeline.bytes_read,
    }


def _later(estimate: NetworkEstimate, cycles: int, clock: float) -> dict[str, Any]:
    return {
        "milliseconds": round(cycles / clock / 1e3, 3),
        "utilisation": round(100 * estimate.npu_macs / (cycles * estimate.configuration.multipliers), 2),
        "estimated_cycles": estimate.later_cycles,
    }


def reference(package: Package) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The photograph as the network's input, and what ONNX Runtime makes of it."""
    inputs = package.image_input(PHOTO.read_bytes())
    with CpuDevice() as device:
        device.load(package)
        return inputs, device.run(inputs)


def estimated(package: Package, npu: Configuration, clock: float, bandwidth: float) -> dict[str, Any]:
    """The estimate alone, for arrays that take long to build."""
    compiled = compile_network(from_onnx(package.model), npu)
    estimate = estimate_network(compiled, npu, Memory(bandwidth * 1e3 / clock, LATENCY))
    return {
        "clock_mhz": clock,
        "bandwidth_gb_per_s": bandwidth,
        "milliseconds": round(1e3 * estimate.seconds(clock), 3),
        "utilisation": round(100 * estimate.utilisation, 2),
        "estimated_cycles": estimate.cycles,
        "macs": estimate.macs,
        "macs_on_npu": round(100 * estimate.npu_macs / estimate.macs, 3),
        "activation_bytes": sum(npu.bank_bytes),
        **fully_connected(compiled, estimate.timelines[0], npu, bandwidth * 1e3 / clock),
        **({"later": _later(estimate, estimate.later_cycles, clock)} if estimate.later else {}),
    }


def run(
    compiled: Compiled, package: Package, inputs: Mapping[str, NDArray[Any]], bandwidth: float, images: int
) -> tuple[list[list[Timeline]], list[dict[str, NDArray[Any]]], float]:
    """The gateware's own timelines and the tensors that it leaves, both image by image, and the seconds that one
    image took, once built."""
    memory = MemoryModel(latency=LATENCY, bandwidth=bandwidth)
    with Simulation(compiled.plans[0].configuration) as simulation:
        recorder = Recorder(compiled, SimulatedCore(simulation, memory))
        outputs = [spec.name for spec in package.manifest.outputs]
        network = Network(compiled.program, recorder, inputs=list(inputs), outputs=outputs)
        begin = time.perf_counter()
        timelines, tensors = [], []
        for _ in range(images):
            recorder.timelines = []
            tensors.append(network.run(inputs)[0])
            timelines.append(recorder.timelines)
        return timelines, tensors, (time.perf_counter() - begin) / images


def fully_connected(
    compiled: Compiled, timeline: Timeline, npu: Configuration, bandwidth: float
) -> dict[str, Any]:
    """Where layers of one output pixel take more than a twentieth of the time: the others by themselves, and those
    against the bandwidth that they need."""
    plan, image = compiled.plans[0], compiled.images[0]
    tasks = [task for task in image.tasks if task.queue == "compute"]
    pixels = [plan.layouts[operation.output].map.pixels for operation in plan.operations]
    spans = timeline.of("compute")
    first = next((n for n, task in enumerate(tasks) if pixels[task.operation] == 1), len(tasks))
    if first in (0, len(tasks)) or any(pixels[task.operation] > 1 for task in tasks[first:]):
        return {}
    begin, end = spans[first - 1].end, spans[-1].end
    if end - begin < 0.05 * timeline.cycles:
        return {}
    macs = sum(
        count_macs(operation, plan.layouts[operation.output].map)
        for operation, size in zip(plan.operations, pixels, strict=True)
        if size > 1
    )
    needed = sum(span.bytes_read for span in spans[first:]) / bandwidth
    return {
        "convolutions_utilisation": round(100 * macs / (begin * npu.multipliers), 2),
        "fully_connected_cycles": end - begin,
        "fully_connected_of_bandwidth": round((end - begin) / needed, 3),
    }


def commit() -> str:
    """Of the sources that are measured."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows, in the order of NAMES."""
    lines = [
        "| network | array | cycles | ms | of the array | goal | estimate | off by | outputs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, label in NAMES.items():
        for npu, one in sorted(figures.get(name, {}).items()):
            goal = f"{GOALS[name][npu]:g} %" if npu in GOALS.get(name, {}) else ""
            if npu in MILLISECONDS.get(name, {}):
                goal = f"{MILLISECONDS[name][npu]:g} ms"
            board = one["clock_mhz"], one["bandwidth_gb_per_s"]
            at = "" if board == USUAL else f", {board[0]:g} MHz, {board[1]:g} GB/s"
            same = "identical" if one.get("identical") else "DIFFERENT" if "cycles" in one else "not run"
            lines.append(f"| {label} | {npu}{at} | {_figures(one, goal)} | {same} |")
            if "later" in one:
                lines.append(f"| {label} | {npu}{at}, second image | {_figures(one['later'], goal)} | {same} |")
    return "\n".join(lines) + "\n"


def _figures(one: Mapping[str, Any], goal: str) -> str:
    """The columns from cycles to the estimate's error."""
    share = f"{one['utilisation']:.1f} %"
    if "convolutions_utilisation" in one:
        share += f", convolutions {one['convolutions_utilisation']:.1f} %"
    cycles, error = (f"{one['cycles']:,}", f"{one['estimate_error']:+.2f} %") if "cycles" in one else ("", "")
    return f"{cycles} | {one['milliseconds']:.2f} | {share} | {goal} | {one['estimated_cycles']:,} | {error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "network", nargs="*", help=f"packages to run, by their files' names; all of {', '.join(NAMES)}"
    )
    parser.add_argument(
        "--npu", action="append",
        help=f"{', '.join(NPUS)}, or a file of 'fieldwave tune --output'; those of the table if not given",
    )  # fmt: skip
    parser.add_argument("--clock", type=float, help="MHz; 200, and 300 for arrays of several pixels")
    parser.add_argument("--bandwidth", type=float, help="GB/s; 19.2, and 77 for arrays of several pixels")
    parser.add_argument("--packages", type=Path, required=True, help="folder with NETWORK.zip")
    parser.add_argument("--estimate", action="store_true", help="do not run the gateware")
    parser.add_argument("--write", action="store_true", help="keep these rows, and put the table in its place")
    arguments = parser.parse_args()
    for name in arguments.network:
        if name not in NAMES:
            parser.error(f"no network {name!r} in the table; there are {', '.join(NAMES)}")
    for name in arguments.network or NAMES:
        package = read_package(arguments.packages / f"{name}.zip")
        for given in arguments.npu or ARRAYS.get(name, ("32x32", "64x64")):
            one, npu = NPUS.get(given) or configuration(given), Path(given).stem
            clock, bandwidth = BOARDS.get(npu, USUAL)
            row = (estimated if arguments.estimate else measure)(
                package, one, arguments.clock or clock, arguments.bandwidth or bandwidth
            )
            row["commit"] = commit()
            print(name, npu, json.dumps(row), flush=True)
            if arguments.write:
                figures = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                figures.setdefault(name, {})[npu] = row
                RESULTS.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
                before, rest = DOCUMENT.read_text().split(BEGIN, 1)
                DOCUMENT.write_text(before + BEGIN + table(figures) + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()
