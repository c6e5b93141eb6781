"""What ``fieldwave plan`` builds on, and how near its predictions come to services that run.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/plan.py --package rn50.zip --write

``costs``: where a request's time goes in a service whose device computes nothing, by what is sent. ``host``: what
the processor does of a network, ``--package``. ``check``: one service and several, each a process with a device
that takes so long, under three loads; the simulation draws from requests that had a service to themselves, and
says what the load generator is going to measure; medians of rounds by turns. ``scale``: how long a plan of
thousands of devices takes.
``--write`` replaces ``benchmarks/results/plan.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fieldwave.bench import OUTSIDE, OpenLoop, Request, example_input, open_loop, prepare, sample_stages
from fieldwave.client import PredictionClient
from fieldwave.compiler import compile_network
from fieldwave.devices import lease_device
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.package import read_package
from fieldwave.plan import Profile, devices_for, simulate
from sleeper import photo, sleepers

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "plan.json"


@contextmanager
def services(count: int, seconds: float) -> Iterator[PredictionClient]:
    """A client of so many services, each a process."""
    with (
        sleepers(count, seconds) as each,
        PredictionClient([f"127.0.0.1:{service.port}" for service in each]) as client,
    ):
        yield client


def requests(client: PredictionClient) -> dict[str, Request]:
    connection = client.connections.each[0]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    return {
        "jpeg": prepare(connection, image=photo()),
        "pixels": prepare(connection, inputs={"images": pixels}),
        "tensor": prepare(connection, inputs={"images": pixels.astype(np.float32)}),
    }


def costs(seconds: float) -> dict[str, Any]:
    found = {}
    with services(1, 0.0) as client:
        for name, request in requests(client).items():
            samples = sample_stages(client.connections.each, request, seconds=seconds)
            found[name] = {
                "bytes": len(request.data),
                **{f"{stage}_ms": round(1e3 * statistics.median(samples[stage]), 4) for stage in samples},
            }
            print(f"{name}: {found[name]}")
    return found


def host(path: Path, seconds: float) -> dict[str, Any]:
    package = read_package(path)
    inputs = example_input(package)
    with lease_device("cpu", "plan") as device:
        device.load(package)
        device.run(inputs)
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            device.run(inputs)
            times.append(time.perf_counter() - begin)

    macs = sum(compile_network(from_onnx(package.model), configuration("sim32")).macs.values())
    took, name = statistics.median(times), package.manifest.network
    print(f"{name}: {1e3 * took:.2f} ms, {macs / took / 1e9:.1f} G multiply-accumulates a second")
    return {"network": name, "milliseconds": 1e3 * took, "macs": macs, "per_second": macs / took}


def check(device: float, loads: tuple[float, ...], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Predictions beside measurements, by turns: medians of the rounds, and what each round had.

    Each round asks the services for their costs anew, right before it loads them: what else the machine does
    changes from minute to minute, and is no error of the prediction. A median of several short rounds is not moved
    by the one in which the machine stood still; a single long one is, at its p99, by a stall of a hundredth of it.
    """
    found: dict[tuple[int, float], list[dict[str, Any]]] = {}
    with services(1, device) as one, services(3, device) as three:
        each = {1: one, 3: three}
        request = requests(one)["pixels"]
        for number in range(rounds):
            for count, client in each.items():
                connections = client.connections.each
                for load in loads:
                    samples = sample_stages(connections, request, seconds=seconds / 4)
                    profile = Profile.of(
                        **{name: samples[name] for name in ("decode", "device", "encode", OUTSIDE)}
                    )
                    row = _load(profile, count, load, connections, request, seconds, number)
                    print(count, load, row)
                    found.setdefault((count, load), []).append(row)
    return [{"services": count, "load": load, **_medians(each)} for (count, load), each in found.items()]


def _load(
    profile: Profile, count: int, load: float, connections: Any, request: Request, seconds: float, seed: int
) -> dict[str, Any]:
    rate = load * count / float(profile.device.mean())
    offered = OpenLoop(rate, seconds, seed=seed, warm_up=seconds / 9)  # a tenth, as in a simulation
    said = simulate(profile, count, rate, clients=1)
    sent: list[tuple[float, float]] = []
    met = open_loop(connections, request, offered, sent=sent)
    sent.sort()
    same = simulate(profile, count, rate, clients=1, arrivals=[at for at, _ in sent])
    p50, p99 = np.percentile([took for at, took in sent if at >= offered.warm_up], (50, 99)).tolist()
    return {
        "p50_ms": _row(said.p50, met.p50, same.p50, p50),
        "p99_ms": _row(said.p99, met.p99, same.p99, p99),
        "refused": {
            "predicted": round(said.refused, 4),
            "measured": round(sum(met.errors.values()) / met.requests, 4),
        },
        "sent_late_ms": {"p99": round(met.late, 2)},
    }


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every figure; and how far off the prediction for what was really sent is: the median, and the best."""
    figures: dict[str, Any] = {
        name: {key: statistics.median(row[name][key] for row in rounds) for key in rounds[0][name]}
        for name in rounds[0]
    }
    for name in ("p50_ms", "p99_ms"):
        off = [row[name]["as_sent_predicted"] / row[name]["as_sent_measured"] - 1 for row in rounds]
        figures[name]["off"] = round(statistics.median(off), 3)
        figures[name]["best_off"] = round(min(off, key=abs), 3)
    return {**figures, "rounds": len(rounds)}


def _row(said: float, met: float, same: float, answered: float) -> dict[str, float]:
    """Milliseconds, from when requests were to be sent: in the long run, and measured.

    ``as_sent``: for the times at which the generator really sent them, both counted from then. On a machine that
    keeps the generator from its work, the first two differ by that.
    """
    return {
        "predicted": round(1e3 * said, 1),
        "measured": round(met, 1),
        "as_sent_predicted": round(1e3 * same, 1),
        "as_sent_measured": round(1e3 * answered, 1),
    }


def scale() -> dict[str, Any]:
    """How long a plan of thousands of devices takes."""
    profile = Profile.of(decode=2e-3, device=2e-3, encode=1e-4, outside=4e-4)
    begin = time.perf_counter()
    plan = devices_for(profile, 1e6, 0.02)
    took = time.perf_counter() - begin
    print(f"1,000,000 requests a second: {plan.devices} devices, in {took:.1f} s")
    return {"rate": 1e6, "p99_ms": 20, "devices": plan.devices, "seconds": round(took, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, help="a quantized network, for what the host can do")
    parser.add_argument("--device-ms", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("costs", "host", "check", "scale"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
    if given.only in (None, "scale"):
        results["scale"] = scale()
    if given.only in (None, "costs"):
        results["costs"] = costs(given.seconds / 4)
    if given.package and given.only in (None, "host"):
        results["host"] = host(given.package, given.seconds / 4)
    if given.only in (None, "check"):
        results["device_ms"] = given.device_ms
        results["check"] = check(given.device_ms / 1e3, (0.3, 0.6, 0.85), given.rounds, given.seconds)
    if given.write:
        before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps({**before, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
