"""What a service adds to the device's time, beside other servers.

Run from the project's root, with the package installed::

    .venv/bin/python benchmarks/serving.py --write

A model that does nothing, in Fieldwave and in each server of ``benchmarks/peers``, which are installed by pip into
environments of their own (2 GB, ten minutes the first time). One client process asks all of them, by turns: a
round is a quarter of a second for each server and request, and there are many rounds, so that whatever else the
machine does hits all alike. ``--write`` replaces ``peers`` in ``benchmarks/results/serving.json``, and the table
in ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from calls import OPTIONS, REQUESTS, Call, grpc_call, ours_http, peer_http, rounds, warm
from environments import ENVIRONMENTS, PEERS, install, started
from sleeper import MODEL, sleepers

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "serving.json"
README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- made by benchmarks/serving.py -->\n", "<!-- end of serving -->"

GOALS = {"pixels": 0.40, "tensor": 0.55, "image": 2.2}
NAMES = {"pixels": "150 KB uint8 tensor", "tensor": "602 KB float32 tensor", "image": "80 kB JPEG, 640x480"}


def peers(environments: Path, count: int, seconds: float, only: list[str]) -> dict[str, Any]:
    """All servers, measured by turns."""
    calls: dict[tuple[str, str], Call] = {}
    versions: dict[str, str] = {}
    failed: dict[str, str] = {}
    load = os.getloadavg()[0]
    with ExitStack() as stack:
        (ours,) = stack.enter_context(sleepers(1, 0.0))
        tcp = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{ours.port}", OPTIONS))
        unix = stack.enter_context(grpc.insecure_channel(f"unix:{ours.socket}", OPTIONS))
        for name in REQUESTS:
            calls["Fieldwave", name] = grpc_call(tcp, MODEL, name)
            calls["Fieldwave, Unix socket", name] = grpc_call(unix, MODEL, name)
            calls["Fieldwave, HTTP", name] = ours_http(ours.http_port, name)
        for peer in PEERS:
            if only and peer.name.lower() not in only:
                continue
            if not (version := install(peer, environments)):
                failed[peer.name] = "pip does not install it"
                continue
            try:
                grpc_port, http_port = stack.enter_context(started(peer, environments))
                if peer.protocol == "grpc":
                    channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{grpc_port}", OPTIONS))
                    own = {(peer.name, name): grpc_call(channel, name, name) for name in REQUESTS}
                else:
                    own = {(peer.name, name): peer_http(peer, http_port, name) for name in REQUESTS}
                for call in own.values():
                    warm(call)
            except Exception as error:
                failed[peer.name] = str(error)[-2000:]
                print(f"{peer.name}: {error}", file=sys.stderr)
                continue
            versions[peer.name] = version
            calls |= own
        for key in list(calls)[:12]:
            warm(calls[key])
        found = rounds(calls, count, seconds)
    rows: dict[str, Any] = {}
    for (server, name), (times, medians) in found.items():
        p50, p99 = np.percentile(times, (50, 99)).tolist()
        figures = {"p50_ms": p50, "p99_ms": p99, "best_round_p50_ms": min(medians)}
        rows.setdefault(server, {})[name] = {key: round(value, 3) for key, value in figures.items()} | {
            "calls": len(times)
        }
    return {
        "commit": commit(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "rounds": count,
        "versions": versions,
        "failed": failed,
        "servers": rows,
        "ratios": ratios(rows),
    }


def ratios(rows: dict[str, Any]) -> dict[str, Any]:
    """Ours over the best peer of the same protocol, and over the best of all, by request."""
    protocols = {peer.name: peer.protocol for peer in PEERS}
    compared = {"Fieldwave": "grpc", "Fieldwave, HTTP": "http"}
    found: dict[str, Any] = {}
    for name in REQUESTS:
        for key in ("p50_ms", "best_round_p50_ms"):
            each = {server: row[name][key] for server, row in rows.items()}
            for ours, protocol in compared.items():
                theirs = {server: each[server] for server in each if protocols.get(server) == protocol}
                if theirs:
                    best = min(theirs, key=lambda server: theirs[server])
                    found.setdefault(name, {}).setdefault(ours, {"best_peer": best})[key] = round(
                        each[ours] / theirs[best], 2
                    )
    return found


def commit() -> str:
    """Of the sources, with a + if they have been changed since."""
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def save(part: str, figures: Any) -> None:
    """Replace a part of the results."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**results, part: figures}, indent=2) + "\n")


def table(figures: dict[str, Any]) -> str:
    """As Markdown: p50 and p99 of each server, then the ratios."""
    versions = figures["versions"]
    lines = ["| server | " + " | ".join(NAMES[name] for name in REQUESTS) + " |", "|---" * 4 + "|"]
    for server, row in figures["servers"].items():
        cells = [
            "{p50_ms:.2f} / {p99_ms:.1f}, best {best_round_p50_ms:.2f}".format(**row[name]) for name in REQUESTS
        ]
        lines.append(f"| {' '.join([server, versions.get(server, '')]).strip()} | {' | '.join(cells)} |")
    for ours in dict.fromkeys(ours for name in REQUESTS for ours in figures["ratios"][name]):
        if all(ours in figures["ratios"][name] for name in REQUESTS):
            each = [figures["ratios"][name][ours] for name in REQUESTS]
            cells = ["{p50_ms:.2f} x {best_peer}, best {best_round_p50_ms:.2f} x".format(**one) for one in each]
            lines.append(f"| {ours}, over the best peer | {' | '.join(cells)} |")
    lines.append("| goal | " + " | ".join(f"{GOALS[name]:.2f} ms, 0.80 x" for name in REQUESTS) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--environments", type=Path, default=ENVIRONMENTS, help="folder of the peers' environments"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these peers alone")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each server and request in a round")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    figures = peers(given.environments, given.rounds, given.seconds, [name.lower() for name in given.only])
    print(table(figures), end="")
    for name, reason in figures["failed"].items():
        print(f"{name} was left out: {reason.splitlines()[-1]}", file=sys.stderr)
    if given.write:
        save("peers", figures)
        before, _, after = README.read_text().partition(BEGIN)
        README.write_text(before + BEGIN + table(figures) + END + after.partition(END)[2])


if __name__ == "__main__":
    main()
