"""What ``fieldwave plan`` builds on, and how near its predictions come to services that run.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/plan.py --package rn50.zip --write

``costs``: where a request's time goes in a service whose device computes nothing, by what is sent; and how long a
device stands still between two runs. ``host``: what the processor does of a network, ``--package``. ``check``: one
service and several, each a process with a device that takes so long, under three loads; the simulation draws from
requests that had a service to themselves, and says what any number of callers is going to wait. ``scale``: how
long a plan of thousands of devices takes.
``--write`` replaces ``benchmarks/results/plan.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.bench import (
    OUTSIDE,
    ClosedLoop,
    OpenLoop,
    Request,
    Sent,
    closed_loop,
    example_input,
    open_loop,
    prepare,
    sample_stages,
)
from fieldwave.client import PredictionClient
from fieldwave.compiler import compile_network
from fieldwave.devices import lease_device
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration
from fieldwave.package import read_package
from fieldwave.plan import BETWEEN_RUNS, Profile, devices_for, simulate
from sleeper import photo, sleepers

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "plan.json"

SECONDS = {(1, 0.3): 50.0, (1, 0.6): 80.0, (1, 0.85): 30.0, (3, 0.3): 20.0, (3, 0.6): 30.0, (3, 0.85): 50.0}
"""How long each load is offered, by the number of services and the part of what they can do: so long that the p99
that is measured is known to 10 % or so. It takes thousands of requests, since those that wait do so together."""
SIMULATED = 300_000
BUSY_SECONDS = 0.008
BLOCK_SECONDS, WARM_UP = 2.0, 1.0


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


def between(seconds: float) -> float:
    """Milliseconds that a device stands still between two runs, when others always wait."""
    with services(1, BUSY_SECONDS) as client:
        connections = client.connections.each
        met = closed_loop(connections, requests(client)["pixels"], ClosedLoop(4, seconds), stages=True)
    found = round(1e3 / met.answered - met.stages["device"], 3)
    print(f"between two runs: {found} ms")
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


@dataclass
class Point:
    """A load on so many services: what was seen of it, in all rounds together; seconds.

    Attributes:
        samples: stages of requests that had a service to themselves, right before each round's load.
        sent: of each round, the requests that were answered, in order.
            requests, errors: how many counted, and how many of these were not answered.
        late: of each round, the 99th percentile of how late the generator was.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    sent: list[list[Sent]] = field(default_factory=list)
    requests: int = 0
    errors: int = 0
    late: list[float] = field(default_factory=list)


def check(device: float, rounds: int, scale: float) -> list[dict[str, Any]]:
    """A prediction for the long run beside what was measured, and how sure that is, for each load of `SECONDS`.

    The rounds of a load are parts of one measurement: what else the machine does changes from minute to minute,
    and so all loads see all of it. Before each the services are asked for their costs.
    """
    points = {key: Point() for key in SECONDS}
    with services(1, device) as one, services(3, device) as three:
        each = {1: one, 3: three}
        request = requests(one)["pixels"]
        gc.collect()
        gc.freeze()  # the generator's own pauses would be taken for the services'
        for number in range(rounds):
            for (count, load), point in points.items():
                seconds = scale * SECONDS[count, load] / rounds
                _offer(point, load * count / device, seconds, each[count].connections.each, request, number)
    return [
        {"services": count, "load": load, **_row(point, count, load * count / device)}
        for (count, load), point in points.items()
    ]


def _offer(point: Point, rate: float, seconds: float, connections: Any, request: Request, seed: int) -> None:
    for name, values in sample_stages(connections, request, seconds=1.0).items():
        point.samples.setdefault(name, []).extend(values)
    offered = OpenLoop(rate, seconds, seed=seed, warm_up=WARM_UP)
    sent: list[Sent] = []
    met = open_loop(connections, request, offered, sent=sent)
    point.sent.append(sorted(sent))
    point.requests += met.requests
    point.errors += sum(met.errors.values())
    point.late.append(met.late)


def _row(point: Point, count: int, rate: float) -> dict[str, Any]:
    profile = Profile.of(**{name: point.samples[name] for name in ("decode", "device", "encode", OUTSIDE)})
    said = simulate(profile, count, rate, clients=1, requests=SIMULATED, between=BETWEEN_RUNS)
    waits = [np.array([one.waited for one in sent if one.due >= WARM_UP]) for sent in point.sent]
    row: dict[str, Any] = {"requests": point.requests}
    for name, percentile in (("p50", 50), ("p99", 99)):
        predicted, measured = getattr(said, name), float(np.percentile(np.concatenate(waits), percentile))
        low, high = _interval(waits, percentile, rate)
        row[f"{name}_ms"] = {
            "predicted": round(1e3 * predicted, 2),
            "measured": round(1e3 * measured, 2),
            "interval": [round(1e3 * low, 2), round(1e3 * high, 2)],
            "off": round(predicted / measured - 1, 3),
            "rounds": [round(1e3 * float(np.percentile(one, percentile)), 2) for one in waits],
        }
    row["refused"] = {"predicted": round(said.refused, 4), "measured": round(point.errors / point.requests, 4)}
    row["sent_late_p99_ms"] = round(statistics.median(point.late), 2)
    print(count, round(rate, 1), row)
    return row


def _interval(waits: list[NDArray[np.float64]], percentile: float, rate: float) -> tuple[float, float]:
    """95 % of what the percentile of such a measurement would be, were it made again.

    By a bootstrap of blocks (Kuensch 1989): requests that come near one another wait for the same queue, so parts
    of two seconds are drawn, not requests.
    """
    length = max(int(BLOCK_SECONDS * rate), 1)
    blocks = [part for one in waits for part in np.array_split(one, max(len(one) // length, 1))]
    rng = np.random.default_rng(0)
    again = [
        np.percentile(
            np.concatenate([blocks[at] for at in rng.integers(len(blocks), size=len(blocks))]), percentile
        )
        for _ in range(500)
    ]
    low, high = np.percentile(again, (2.5, 97.5)).tolist()
    return low, high


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
    parser.add_argument("--device-ms", type=float, default=8.0)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each cost")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--scale", type=float, default=1.0, help="of how long the loads are offered")
    parser.add_argument("--only", choices=("costs", "host", "check", "scale"))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    results: dict[str, Any] = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
    if given.only in (None, "scale"):
        results["scale"] = scale()
    if given.only in (None, "costs"):
        results["costs"] = costs(given.seconds)
        results["between_ms"] = between(given.seconds)
    if given.package and given.only in (None, "host"):
        results["host"] = host(given.package, given.seconds)
    if given.only in (None, "check"):
        results["device_ms"] = given.device_ms
        results["check"] = check(given.device_ms / 1e3, given.rounds, given.scale)
    if given.write:
        before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        RESULTS.write_text(json.dumps({**before, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
