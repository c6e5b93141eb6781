"""A service under more than it can do: what it still answers, how late, and how soon it refuses the rest.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/overload.py --write

A device that takes 20 ms and computes nothing; independent users (a Poisson process, ``fieldwave.bench``) at half,
0.9, 1.5 and five times what it can do, from a process of its own, by turns. What it can do is the best rate of all
loads. Latencies count from when a request was really sent: how late the generator was is said beside them.
``--write`` replaces ``overload`` in ``benchmarks/results/serving.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
from typing import Any

import numpy as np

from fieldwave.bench import OpenLoop, Sent, open_loop, prepare
from fieldwave.client import PredictionClient
from serving import commit, save
from sleeper import sleepers

WORKERS = 4
PLACES = 2 * WORKERS
"""How many requests are in hand at once: one on the device, the others wait."""


def offer(target: str, rate: float, seconds: float, seed: int, pipe: Any) -> None:
    """The generator, a process of its own: a load, and what came of it."""
    with PredictionClient(target) as client:
        connection = client.connections.each[0]
        request = prepare(connection, inputs={"images": np.zeros((1, 224, 224, 3), np.uint8)})
        answered: list[Sent] = []
        refused: list[Sent] = []
        load = OpenLoop(rate, seconds, warm_up=1.0, seed=seed)
        figures = open_loop([connection], request, load, sent=answered, refused=refused)
    late = {
        name: [1e3 * one.took for one in each if one.due >= load.warm_up]
        for name, each in (("answered", answered), ("refused", refused))
    }
    p99 = {name: float(np.percentile(each, 99)) if each else 0.0 for name, each in late.items()}
    p50 = float(np.median(late["refused"])) if late["refused"] else 0.0
    pipe.send((figures.answered, p99["answered"], p50, p99["refused"], figures.late, figures.errors))


def overload(device: float, loads: tuple[float, ...], rounds: int, seconds: float) -> dict[str, Any]:
    """Each load in each round; medians and bests of the rounds."""
    context = multiprocessing.get_context("spawn")
    found: dict[float, list[Any]] = {load: [] for load in loads}
    with sleepers(1, device, workers=WORKERS) as (service,):
        for number in range(rounds):
            for load in loads:
                near, far = context.Pipe()
                target = f"127.0.0.1:{service.port}"
                process = context.Process(target=offer, args=(target, load / device, seconds, number, far))
                process.start()
                found[load].append(near.recv())
                process.join()
                print(f"{load} x: {found[load][-1]}, load {os.getloadavg()[0]:.1f}")
    rows = []
    for load, each in found.items():
        rates, answered, refused_p50, refused, late, errors = zip(*each, strict=True)
        rows.append(
            {
                "offered": load,
                "answered_per_second": round(statistics.median(rates), 1),
                "best_answered_per_second": round(max(rates), 1),
                "answered_p99_ms": round(statistics.median(answered), 1),
                "best_answered_p99_ms": round(min(answered), 1),
                "refused_p50_ms": round(statistics.median(refused_p50), 2),
                "refused_p99_ms": round(statistics.median(refused), 1),
                "best_refused_p99_ms": round(min(refused), 1),
                "sent_late_ms": round(statistics.median(late), 1),
                "errors": sorted({code for one in errors for code in one}),
            }
        )
    peak = max(row["answered_per_second"] for row in rows)
    return {
        "device_ms": 1e3 * device,
        "places": PLACES,
        "goal_answered_p99_ms": 1e3 * device * (PLACES + 1) + 5,
        "loads": rows,
        "goodput_of_peak": round(rows[-1]["answered_per_second"] / peak, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device-ms", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    found = overload(given.device_ms / 1e3, (0.5, 0.9, 1.5, 5.0), given.rounds, given.seconds)
    figures = {"commit": commit(), "load_before": load, **found, "load_after": os.getloadavg()[0]}
    print(figures)
    if given.write:
        save("overload", figures)


if __name__ == "__main__":
    main()
