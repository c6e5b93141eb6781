"""What keys and TLS cost: the latency of one small prediction on loopback, with and without, as ratios in one run.

::

    python benchmarks/security.py --write

The same tensor goes to six services in turn, each a process of its own: what else the machine does meets all of
them alike. Their device answers at once, so what is left is gRPC, keys and TLS: the ratios are the worst that a
service can have. Goal: a key costs at most a twentieth of such a call.

Prints one line of JSON; ``--write`` keeps it in ``benchmarks/results/security.json`` as well. The lower decile is
given beside the median: it is steadier where others use the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fieldwave.client import PredictionClient
from fieldwave.keys import Keys, sign_token, write_keys

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.certificates import Authority  # noqa: E402
from tests.served import tensor  # noqa: E402

RESULTS = PROJECT / "benchmarks" / "results" / "security.json"
WARM_UP = 50
SERVICE = """
import sys
from pathlib import Path
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

files = {name: Path(value) for name, value in (one.split("=", 1) for one in sys.argv[1:])}
serve(ServeOptions(package=package(), grpc_port=0, **files), device=Affine(),
      ready=lambda server: print(server.port, flush=True))
"""


def compare(calls: int) -> dict[str, Any]:
    """Latencies of each kind of service, for one image and for a batch of 64."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        clients = {}
        for label, (server, client) in setups(Path(name)).items():
            port = started(stack, server)
            clients[label] = stack.enter_context(PredictionClient("127.0.0.1", port, **client))
        found: dict[str, Any] = {
            what: figures(measured(clients, inputs, calls))
            for what, inputs in (("240_bytes", tensor()), ("15_kilobytes", tensor(64)))
        }
    return {**found, "calls": calls, "load_before": round(load, 1)}


def setups(folder: Path) -> dict[str, tuple[dict[str, Path], dict[str, Any]]]:
    """What each service and its client is started with."""
    keys, authority = Keys.generate(), Authority()
    write_keys(folder / "keys", keys)
    certificate, private = authority.server().write(folder)
    (folder / "ca.crt").write_bytes(authority.certificate)
    mine = authority.client()
    keyed = {"keys": folder / "keys"}
    tls = {"tls_cert": certificate, "tls_key": private}
    mutual = tls | {"client_ca": folder / "ca.crt"}
    key = {"access_token": keys.primary}
    trust = {"use_ssl": True, "root_certificates": authority.certificate}
    shown = {"client_certificate": mine.certificate, "client_key": mine.key}
    return {
        "open": ({}, {}),
        "key": (keyed, key),
        "token": (keyed, {"access_token": sign_token(keys).value}),
        "tls": (tls, trust),
        "key_tls": (keyed | tls, key | trust),
        "key_mutual_tls": (keyed | mutual, key | trust | shown),
    }


def started(stack: ExitStack, options: dict[str, Path]) -> int:
    """Start a service and return its port."""
    arguments = [f"{name}={value}" for name, value in options.items()]
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", SERVICE, *arguments], stdout=subprocess.PIPE, text=True, cwd=PROJECT
        )
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return int(process.stdout.readline())


def measured(clients: dict[str, PredictionClient], inputs: Any, calls: int) -> dict[str, list[float]]:
    """Seconds of each call."""
    times: dict[str, list[float]] = {label: [] for label in clients}
    for number in range(WARM_UP + calls):
        turn = number % len(clients)  # nobody always comes after the same one
        for label, client in (*list(clients.items())[turn:], *list(clients.items())[:turn]):
            begin = time.perf_counter()
            client.score_numpy_arrays({"images": inputs})
            if number >= WARM_UP:
                times[label].append(time.perf_counter() - begin)
    return times


def figures(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median and lower decile in microseconds, and as ratios to the open service."""
    rows = {}
    for label, seconds in times.items():
        p50, p10 = statistics.median(seconds) * 1e6, statistics.quantiles(seconds, n=10)[0] * 1e6
        base = rows.get("open", {"p50_us": p50, "p10_us": p10})
        rows[label] = {
            "p50_us": round(p50),
            "p10_us": round(p10),
            "p50_ratio": round(p50 / base["p50_us"], 3),
            "p10_ratio": round(p10 / base["p10_us"], 3),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=3000, help="of each kind")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    arguments = parser.parse_args()
    result = compare(arguments.calls)
    print(json.dumps(result))
    if arguments.write:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
