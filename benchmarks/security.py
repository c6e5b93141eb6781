"""What keys and TLS cost: the latency of one small prediction on loopback, with and without, as ratios in one run.

The same tensor goes to six services in turn, each a process of its own: what else the machine does meets all of
them alike. Their device answers at once: what is left is gRPC, keys and TLS. Run in the project's folder::

    python benchmarks/security.py [CALLS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.certificates import Authority
from tests.served import tensor

from fieldwave.client import PredictionClient
from fieldwave.keys import Keys, sign_token, write_keys

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
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


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        clients = {}
        for label, (server, client) in setups(Path(name)).items():
            port = started(stack, server)
            clients[label] = stack.enter_context(PredictionClient("127.0.0.1", port, **client))
        for what, inputs in (("1 image, 240 bytes", tensor()), ("64 images, 15 KB", tensor(64))):
            times = measured(clients, inputs)
            base = statistics.median(times["open"])
            print(f"{what}, {CALLS} calls each")
            for label, values in times.items():
                p50, p99 = statistics.median(values), statistics.quantiles(values, n=100)[98]
                print(f"  {label:16} p50 {p50 * 1e6:5.0f} us  p99 {p99 * 1e6:5.0f} us  p50/open {p50 / base:.3f}")


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
        "TLS": (tls, trust),
        "key, TLS": (keyed | tls, key | trust),
        "key, mutual TLS": (keyed | mutual, key | trust | shown),
    }


def started(stack: ExitStack, options: dict[str, Path]) -> int:
    """Start a service and return its port."""
    arguments = [f"{name}={value}" for name, value in options.items()]
    process = stack.enter_context(
        subprocess.Popen([sys.executable, "-c", SERVICE, *arguments], stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return int(process.stdout.readline())


def measured(clients: dict[str, PredictionClient], inputs: Any) -> dict[str, list[float]]:
    """Seconds of each call."""
    times: dict[str, list[float]] = {label: [] for label in clients}
    for number in range(WARM_UP + CALLS):
        for label, client in clients.items():
            begin = time.perf_counter()
            client.score_numpy_arrays({"images": inputs})
            if number >= WARM_UP:
                times[label].append(time.perf_counter() - begin)
    return times


if __name__ == "__main__":
    main()
