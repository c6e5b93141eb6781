"""The cpu device beside a bare ONNX Runtime session on the same model, in one process, turn by turn.

::

    python benchmarks/cpu_device.py resnet50.zip --write

The goal: the device takes at most 1.02 times as long. Prints one line of JSON; ``--write`` keeps it in
``benchmarks/results/cpu_device.json`` as well.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from fieldwave.devices.cpu import CpuDevice
from fieldwave.package import Package, read_package

RESULTS = Path(__file__).resolve().parent / "results" / "cpu_device.json"
WARM_UP = 10


def compare_with_onnxruntime(package: Package, calls: int = 100) -> dict[str, Any]:
    """Median milliseconds for one image on both, and how many times as long the device takes.

    The two alternate, each in turn going first, so that a change of the machine's speed meets both alike; the
    ratio is the median over the pairs. Both get the same arrays, and their results must be the same bytes.
    """
    rng = np.random.default_rng(0)
    inputs = {
        spec.name: rng.normal(0, 50, [size or 1 for size in spec.shape]).astype(spec.dtype)
        for spec in package.manifest.inputs
    }
    names = [spec.name for spec in package.manifest.outputs]
    session = onnxruntime.InferenceSession(package.model, providers=["CPUExecutionProvider"])
    with CpuDevice() as device:
        device.load(package)
        pairs = alternate(lambda: device.run(inputs), lambda: session.run(names, inputs), calls)
        same = all(
            np.array_equal(ours, theirs)
            for ours, theirs in zip(device.run(inputs).values(), session.run(names, inputs), strict=True)
        )
        path = device.path
    ours, theirs = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    return {
        "network": package.manifest.network,
        "path": path,
        "calls": calls,
        "device_ms": ours,
        "onnxruntime_ms": theirs,
        "ratio": statistics.median(device / bare for device, bare in pairs),
        "same_bytes": same,
    }


def alternate(a: Callable[[], object], b: Callable[[], object], calls: int) -> list[tuple[float, float]]:
    """Seconds of a and of b, pair by pair; the first pairs warm up and are left out."""
    pairs = []
    for index in range(WARM_UP + calls):
        if index % 2:
            second, first = seconds(b), seconds(a)
        else:
            first, second = seconds(a), seconds(b)
        pairs.append((first, second))
    return pairs[WARM_UP:]


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="a package, as fieldwave convert writes it")
    parser.add_argument("--calls", type=int, default=100, help="pairs of calls (default 100)")
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.relative_to(RESULTS.parents[2])}")
    arguments = parser.parse_args()
    figures = compare_with_onnxruntime(read_package(arguments.package), arguments.calls)
    figures |= {"onnxruntime": onnxruntime.__version__, "processor": platform.machine()}
    line = json.dumps(figures, default=float)
    print(line)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(line + "\n")


if __name__ == "__main__":
    main()
