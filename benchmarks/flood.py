"""A thousand idle connections and a hundred messages that never end: a service's memory, a good client's latency.

::

    python benchmarks/flood.py --write

For gRPC and HTTP in turn: who floods is a process of its own, the service another, the good client a third, which
sends one prediction at a time to the same port. Its latency before, while the flood is being sent, and while it
holds on; the memory of the service before, at the most, and when it has been given back, while the flood holds on.

Prints a line of JSON for each; ``--write`` keeps them in ``benchmarks/results/flood.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.flood import Flooded  # noqa: E402

RESULTS = PROJECT / "benchmarks" / "results" / "flood.json"
RECEIVE_SECONDS = 30.0
BACK_MEGABYTES = 200
"""Above the quiet service; a thousand connections of gRPC have some 80 of them."""
GOOD = """
import http.client, json, sys, time
from fieldwave.client import PredictionClient
from tests.served import affine, tensor

port, protocol = int(sys.argv[1]), sys.argv[2]
right, body = affine(tensor()).tolist(), json.dumps({"instances": tensor().tolist()})
client, connection = PredictionClient("127.0.0.1", port), http.client.HTTPConnection("127.0.0.1", port, timeout=30)

def ask():
    if protocol == "grpc":
        return client.score_numpy_arrays({"images": tensor()}).tolist()
    connection.request("POST", "/v1/models/affine:predict", body)
    return json.loads(connection.getresponse().read())["predictions"]

for line in sys.stdin:
    end, took, failed = time.monotonic() + float(line), [], 0
    while time.monotonic() < end:
        begin = time.perf_counter()
        try:
            failed += ask() != right
        except Exception:
            failed += 1
        took.append(1e3 * (time.perf_counter() - begin))
        time.sleep(0.002)
    took.sort()
    found = {"requests": len(took), "failed": failed}
    print(json.dumps(found | {f"p{p}_ms": round(took[len(took) * p // 100], 2) for p in (50, 99)}), flush=True)
"""


def measured(protocol: str, seconds: float) -> dict[str, Any]:
    """One flood."""
    with Flooded(RECEIVE_SECONDS) as flooded:
        command = [sys.executable, "-c", GOOD, str(flooded.ports()[protocol]), protocol]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
        ) as good:
            assert good.stdin is not None and good.stdout is not None

            def begin(duration: float) -> None:
                print(duration, file=good.stdin, flush=True)

            def heard() -> Any:
                assert good.stdout is not None
                return json.loads(good.stdout.readline())

            begin(2.0)
            heard()
            begin(seconds)
            found: dict[str, Any] = {"protocol": protocol, "load_before": round(os.getloadavg()[0], 1)}
            found["good_quiet"] = heard()
            found["megabytes_quiet"] = quiet = flooded.megabytes()
            begin(seconds)
            with flooded.flood(protocol, idle=1000, half=100) as sent:
                found |= sent
                found["good_while_it_is_sent"] = heard()
                begin(seconds)
                found["good_while_it_holds_on"] = heard()
                start = time.monotonic()
                with suppress(TimeoutError):
                    while flooded.megabytes() > quiet + BACK_MEGABYTES:
                        if time.monotonic() > start + 60:
                            raise TimeoutError
                        time.sleep(0.1)
                found["back_after_seconds"] = round(seconds + time.monotonic() - start, 1)
                found["megabytes_back"] = flooded.megabytes()
                begin(seconds)
                found["good_after_it"] = heard()
            good.stdin.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--write", action="store_true", help="keep what was measured in benchmarks/results")
    arguments = parser.parse_args()
    parts = []
    for protocol in ("grpc", "http"):
        parts.append(measured(protocol, arguments.seconds))
        print(json.dumps(parts[-1]), flush=True)
    if arguments.write:
        RESULTS.write_text(json.dumps(parts, indent=2) + "\n")


if __name__ == "__main__":
    main()
