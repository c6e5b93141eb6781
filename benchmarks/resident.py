"""What a service takes while it runs: memory, the time to start, what many requests leave; and four of them.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/resident.py --package rn50.zip --write

``start``: ``fieldwave serve`` of a quantized ResNet-50 on ``cpu``, as a process of its own: until it says that it
serves, and its memory after some hundred predictions. ``replicas``: predictions a second of four services with a
device that takes 20 ms, over those of one, by turns. ``soak``: requests of 16 x 16 pixels to a device that does
nothing, four at a time; the service's memory after each 25,000, and the slope of a line through all but the first
100,000. ``--write`` replaces these parts of ``benchmarks/results/serving.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fieldwave.bench import ClosedLoop, closed_loop, prepare
from fieldwave.client import PredictionClient
from serving import commit, save
from sleeper import photo, sleepers

_PORT = re.compile(r":(\d+)")


def megabytes(pid: int, key: str = "VmRSS") -> float:
    """Of a process, by what the kernel says: the resident set, or its peak."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


def waited(pid: int) -> float:
    """For how many seconds a process's main thread could have run and had no core, by what the kernel says."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


def start(package: Path, runs: int) -> dict[str, Any]:
    """Seconds until ready, of several starts, and megabytes after a hundred images and pixels."""
    seconds, alone, resident, peak = [], [], [], []
    for _ in range(runs):
        load = os.getloadavg()[0]
        begin = time.perf_counter()
        command = [sys.executable, "-m", "fieldwave", "serve", str(package), "--grpc-port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        try:
            while not (found := re.search(r"127\.0\.0\.1:(\d+)", line := process.stdout.readline())):
                if not line:
                    raise RuntimeError("the service ended before it was ready")
            seconds.append(time.perf_counter() - begin)
            alone.append(seconds[-1] - waited(process.pid))
            with PredictionClient(f"127.0.0.1:{found[1]}") as client:
                for _ in range(50):
                    client.score_image(photo(), timeout=60)
                connection = client.connections.each[0]
                closed_loop([connection], prepare(connection), ClosedLoop(2, 3.0, timeout=60))
            resident.append(megabytes(process.pid))
            peak.append(megabytes(process.pid, "VmHWM"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        took = f"ready in {seconds[-1]:.2f} s, {alone[-1]:.2f} s but for want of a core"
        print(f"{took}, {resident[-1]:.0f} MB, load {load:.1f}", file=sys.stderr)
    return {
        "ready_seconds": round(statistics.median(seconds), 2),
        "best_ready_seconds": round(min(seconds), 2),
        "ready_seconds_but_for_want_of_a_core": round(statistics.median(alone), 2),
        "resident_megabytes": round(max(resident), 1),
        "peak_megabytes": round(max(peak), 1),
    }


def replicas(device: float, rounds: int, seconds: float) -> dict[str, Any]:
    """Answers a second of one service and of four, by turns."""
    rates: dict[int, list[float]] = {1: [], 4: []}
    with sleepers(4, device) as each, PredictionClient([f"127.0.0.1:{one.port}" for one in each]) as client:
        connections = client.connections.each
        pixels = np.zeros((1, 224, 224, 3), np.uint8)
        request = prepare(connections[0], inputs={"images": pixels})
        for _ in range(rounds):
            for count, measured in rates.items():
                load = ClosedLoop(3 * count, seconds, warm_up=0.3)
                measured.append(closed_loop(connections[:count], request, load).answered)
            print(f"one {rates[1][-1]:.1f}/s, four {rates[4][-1]:.1f}/s", file=sys.stderr)
    ratios = [four / one for one, four in zip(rates[1], rates[4], strict=True)]
    return {
        "device_ms": 1e3 * device,
        "one_per_second": round(statistics.median(rates[1]), 1),
        "four_per_second": round(statistics.median(rates[4]), 1),
        "ratio": round(statistics.median(ratios), 2),
        "best_ratio": round(max(ratios), 2),
    }


def soak(count: int, every: int) -> dict[str, Any]:
    """The service's memory over so many requests."""
    context = multiprocessing.get_context("spawn")
    errors, sizes, begin = 0, [], time.perf_counter()
    with sleepers(1, 0.0, side=16) as (service,):
        near, far = context.Pipe()
        client = context.Process(target=_ask, args=(service.port, count, every, far))
        client.start()
        for number in range(0, count + 1, every):
            errors += near.recv()
            sizes.append(round(megabytes(service.pid), 2))
            print(f"{number}: {sizes[-1]} MB, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        client.join()
    at = every * np.arange(len(sizes)) / 1e5
    settled = at >= min(1.0, at[-1] / 2)
    slope = float(np.polyfit(at[settled], np.array(sizes)[settled], 1)[0])
    return {
        "requests": count,
        "errors": errors,
        "seconds": round(time.perf_counter() - begin, 1),
        "megabytes": sizes,
        "megabytes_per_100000": round(slope, 3),
    }


def _ask(port: int, count: int, every: int, pipe: Any) -> None:
    """The client of `soak`, a process of its own."""
    import threading

    with PredictionClient([f"127.0.0.1:{port}"] * 1) as client:
        connection = client.connections.each[0]
        request = prepare(connection, inputs={"images": np.zeros((1, 16, 16, 3), np.uint8)})
        pipe.send(0)
        for _ in range(count // every):
            failed = [0] * 4

            def ask(number: int, failed: list[int] = failed) -> None:
                for _ in range(every // 4):
                    with connection.borrowed(request.method) as (call, metadata):
                        try:
                            call(request.data, timeout=30, metadata=metadata)
                        except Exception:
                            failed[number] += 1

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            pipe.send(sum(failed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, help="a quantized ResNet-50")
    parser.add_argument("--only", choices=("start", "replicas", "soak"))
    parser.add_argument("--requests", type=int, default=500_000, help="of the soak")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    for part, measure in (
        ("start", lambda: start(given.package, given.runs)),
        ("replicas", lambda: replicas(0.02, given.runs, 3.0)),
        ("soak", lambda: soak(given.requests, min(25_000, given.requests // 10))),
    ):
        if given.only not in (None, part) or (part == "start" and given.package is None):
            continue
        load = os.getloadavg()[0]
        figures = {"commit": commit(), "load_before": load, **measure(), "load_after": os.getloadavg()[0]}
        print(part, figures)
        if given.write:
            save(part, figures)


if __name__ == "__main__":
    main()
