"""The figures of the main road on this machine: start-up, conversion, the cpu device, the service.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/main_road.py --write

It converts ResNet-50 with random weights (a minute), and compares what can be compared within one run,
as ratios of interleaved calls. ``--write`` replaces ``benchmarks/results/main_road.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from cpu_device import compare_with_onnxruntime
from fieldwave.deploy import LocalTarget
from fieldwave.devices import create_device
from fieldwave.graph import Graph, Node, Value, to_onnx
from fieldwave.package import Package, TensorSpec, read_package, write_package
from fieldwave.preprocess import preprocess
from fieldwave.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "tests" / "data" / "images"
PHOTO = PHOTOS / "snowleopardgaze.jpg"
RESULTS = ROOT / "benchmarks" / "results" / "main_road.json"


def median_seconds(command: list[str], runs: int = 7) -> float:
    """Median wall time of a whole process, after one warm-up."""
    times = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def startup() -> dict[str, float]:
    """Seconds that the command takes to answer, and that the import costs beside a bare interpreter."""
    bare = median_seconds([sys.executable, "-c", "pass"])
    package = median_seconds([sys.executable, "-c", "import fieldwave"])
    shown = median_seconds([str(Path(sys.executable).parent / "fieldwave"), "--help"])
    return {"help_seconds": shown, "import_seconds": package - bare}


def conversion(output: Path) -> dict[str, float]:
    """Wall time, peak memory and package size of a ResNet-50 calibrated on 16 images."""
    with tempfile.TemporaryDirectory() as folder:
        photos = sorted(PHOTOS.iterdir())
        for index in range(16):
            (Path(folder) / f"{index:02d}.jpg").write_bytes(photos[index % len(photos)].read_bytes())
        command = [str(Path(sys.executable).parent / "fieldwave"), "convert", "resnet50"]
        command += ["--weights", "random:0", "--calibration", folder, "--output", str(output)]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    if status:
        raise SystemExit(f"convert failed: {' '.join(command)}")
    return {
        "seconds": seconds,
        "peak_megabytes": usage.ru_maxrss / 1024,
        "package_megabytes": output.stat().st_size / 1e6,
    }


def service(package: Package, path: Path, calls: int) -> dict[str, float]:
    """Client p50 minus device p50, in milliseconds, in one run."""
    photo = PHOTO.read_bytes()
    spec = package.preprocessing
    assert spec is not None
    pixels = package.image_input(photo)
    with tempfile.TemporaryDirectory() as folder:
        target = LocalTarget(Workspace(Path(folder)))
        running = target.deploy(path, "bench")
        try:
            with running.client() as client, create_device("cpu") as device:
                device.load(package)
                paths: dict[str, Callable[[], Any]] = {
                    "device": lambda: device.run(pixels),
                    "tensor": lambda: client.score_numpy_arrays(pixels),
                    "jpeg": lambda: client.score_image(photo),
                    "preprocess": lambda: preprocess(photo, spec),
                }
                times = interleaved(paths, calls)
        finally:
            target.delete("bench")
    return {
        "device_p50_ms": times["device"],
        "tensor_p50_ms": times["tensor"],
        "jpeg_p50_ms": times["jpeg"],
        "preprocess_p50_ms": times["preprocess"],
        "tensor_overhead_ms": times["tensor"] - times["device"],
        "jpeg_overhead_ms": times["jpeg"] - times["device"],
    }


def bare_service(folder: Path, calls: int) -> dict[str, float]:
    """The same overhead over a network that costs next to nothing: what the service itself takes.

    Beside ResNet-50 the client, the server and ONNX Runtime's spinning threads share the cores of this machine.
    """
    size = (224, 224, 3)
    constants = {"scale": np.asarray(1.0, np.float32), "zero": np.asarray(128, np.uint8)}
    pool = {"kernel_shape": [1, 1], "strides": [112, 112]}
    nodes = (
        Node("QuantizeLinear", "in", ("x", "scale", "zero"), ("x_quantized",)),
        Node("MaxPool", "pool", ("x_quantized",), ("y_quantized",), pool),
        Node("DequantizeLinear", "out", ("y_quantized", "scale", "zero"), ("y",)),
    )
    shapes = (Value("x", "float32", (None, *size)),), (Value("y", "float32", (None, 224, 2, 1)),)
    path = folder / "bare.zip"
    write_package(
        path,
        network="bare",
        model=to_onnx(Graph("bare", *shapes, nodes, constants)).SerializeToString(),
        inputs=[TensorSpec(name="x", dtype="float32", shape=(None, *size))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=(None, 224, 2, 1))],
    )
    pixels = {"x": np.zeros((1, *size), np.float32)}
    target = LocalTarget(Workspace(folder))
    running = target.deploy(path, "bare")
    try:
        with running.client() as client, create_device("cpu") as device:
            device.load(read_package(path))
            paths: dict[str, Callable[[], Any]] = {
                "device": lambda: device.run(pixels),
                "tensor": lambda: client.score_numpy_arrays(pixels),
            }
            times = interleaved(paths, calls)
    finally:
        target.delete("bare")
    return {"device_p50_ms": times["device"], "tensor_overhead_ms": times["tensor"] - times["device"]}


def interleaved(paths: dict[str, Callable[[], Any]], calls: int) -> dict[str, float]:
    """Median milliseconds of each path. The paths take turns, ten calls each, so that all see the same machine.

    The first two calls of a turn do not count: after its last run ONNX Runtime's threads spin for a while in this
    process, and would take a core from the service.
    """
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(-(-calls // 10)):
        for name, call in paths.items():
            for index in range(12):
                begin = time.perf_counter()
                call()
                if index >= 2:
                    times[name].append((time.perf_counter() - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with as many digits as mean something."""
    return {
        name: rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the committed figures")
    parser.add_argument("--calls", type=int, default=100, help="calls per path (default 100)")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
        "startup": startup(),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.zip"
        figures["convert_resnet50"] = conversion(path)
        package = read_package(path)
        figures["cpu_device"] = compare_with_onnxruntime(package, arguments.calls)
        figures["service"] = service(package, path, arguments.calls)
        figures["service_of_a_bare_network"] = bare_service(Path(folder), arguments.calls)
    figures["peak_megabytes_of_this_benchmark"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = json.dumps(rounded(figures), indent=2) + "\n"
    print(text, end="")
    if arguments.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
