"""The simulated NPU: how long it takes to build, to start, and how many cycles a second it runs.

::

    .venv/bin/python benchmarks/simulator.py sim16 sim32 --write

Each configuration is built in an empty cache, as a newcomer's first run is, started again from that cache in a
fresh process, and then runs a 3 x 3 convolution of 256 to 256 channels over 14 x 14 pixels (115.6 million
multiply-accumulates) on one thread, five times; the fastest run tells the rate. The result is compared with the
golden model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from fieldwave import golden
from fieldwave.compiler import compile_network
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.sections import Network
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.graph import Graph, Node, Value
from fieldwave.npu import CONFIGURATIONS, configuration

RESULTS = Path(__file__).resolve().parent / "results" / "simulator.json"
START = "import sys; from fieldwave.devices.simulator import Simulation; from fieldwave.npu import configuration; "
START += "Simulation(configuration(sys.argv[1])).close()"


def convolution() -> tuple[Graph, dict[str, Any]]:
    """A mid layer of ResNet-50 with random weights, and an input for it."""
    rng = np.random.default_rng(0)
    constants = {
        "xs": np.asarray(2.0**-4, np.float32), "xz": np.asarray(0, np.uint8),
        "w": rng.integers(-127, 128, (256, 256, 3, 3)).astype(np.int8),
        "ws": rng.uniform(1e-4, 1e-3, 256).astype(np.float32), "wz": np.zeros(256, np.int8),
        "ys": np.asarray(2.0**-2, np.float32), "yz": np.asarray(128, np.uint8), "b": np.zeros(256, np.int32),
    }  # fmt: skip
    node = Node("QLinearConv", "conv", ("x", *constants), ("y",), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]})
    shape = (1, 256, 14, 14)
    graph = Graph("conv", (Value("x", "uint8", shape),), (Value("y", "uint8", shape),), (node,), constants)
    return graph, {"x": rng.integers(0, 256, shape).astype(np.uint8)}


def measure(name: str) -> dict[str, Any]:
    """Build, start and run one configuration."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        begin = time.perf_counter()
        Simulation(configuration(name)).close()
        build = time.perf_counter() - begin
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", START, name], check=True)
        start = time.perf_counter() - begin
        graph, inputs = convolution()
        program = compile_network(graph, configuration(name)).program
        with Simulation(configuration(name)) as simulation:
            core = SimulatedCore(simulation, MemoryModel(latency=100))
            network = Network(program, core, inputs=inputs, outputs=("y",))
            times = []
            for _ in range(5):
                begin = time.perf_counter()
                found, cycles = network.run(inputs)
                times.append(time.perf_counter() - begin)
    same = np.array_equal(found["y"], golden.run(graph, inputs)["y"])
    macs = 256 * 256 * 9 * 14 * 14
    return {
        "build_seconds": round(build, 1),
        "warm_start_seconds": round(start, 2),
        "kilohertz": round(cycles / min(times) / 1e3),
        "cycles": cycles,
        "utilisation": round(macs / (cycles * configuration(name).multipliers), 4),
        "identical": bool(same),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("npu", nargs="+", choices=sorted(CONFIGURATIONS), help="configurations to measure")
    parser.add_argument("--write", action="store_true", help="keep the figures of these configurations")
    arguments = parser.parse_args()
    figures = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in arguments.npu:
        figures[name] = measure(name)
        print(name, json.dumps(figures[name]), flush=True)
    if arguments.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
