"""A million damaged requests, and what they come to: status codes, memory, and a good client beside them.

::

    python benchmarks/mutated.py --write

First half a million Predict and half a million ModelInfer messages, and a tenth as many bodies for REST, in this
process: any status but OK, INVALID_ARGUMENT, NOT_FOUND and FAILED_PRECONDITION, and any text with more in it than
one printable line, ends the run. Then 25,000 of each over sockets, to a service in a process of its own, while a
client that sends good requests measures how long they take, before and meanwhile.

Prints a line of JSON for each part; ``--write`` keeps them in ``benchmarks/results/mutated.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from tests.answering import INFER, PREDICT, answering, flood  # noqa: E402
from tests.mutated import MADE  # noqa: E402

RESULTS = PROJECT / "benchmarks" / "results" / "mutated.json"
SEEDS = {"predict": 11, "infer": 12, "rest": 13}
SERVICE = """
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

options = ServeOptions(package=package(), grpc_port=0)
serve(options, device=Affine(), ready=lambda server: print(server.port, flush=True))
"""
GOOD = """
import sys, time
import grpc
from tests.answering import INFER, PREDICT
from tests.mutated import INFER_SEEDS, PREDICT_SEEDS
from tests.served import affine, tensor
from fieldwave.wire.messages import ModelInferResponse, PredictResponse

right = affine(tensor())
with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as opened:
    predict, infer = opened.unary_unary(PREDICT), opened.unary_unary(INFER)
    print(flush=True)
    for line in sys.stdin:  # how long to go on
        end, took = time.monotonic() + float(line), []
        while time.monotonic() < end:
            for call, request, read in ((predict, PREDICT_SEEDS[0], True), (infer, INFER_SEEDS[0], False)):
                begin = time.perf_counter()
                answer = call(request, timeout=30)
                took.append(time.perf_counter() - begin)
                if read:
                    answer = PredictResponse.FromString(answer)
                    assert list(answer.outputs["output_alias"].float_val) == right.ravel().tolist()
                else:
                    assert ModelInferResponse.FromString(answer).raw_output_contents[0] == right.tobytes()
            time.sleep(0.002)
        took.sort()
        print(len(took), 1e3 * took[len(took) // 2], 1e3 * took[len(took) * 99 // 100], flush=True)
"""


def in_process(counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """One part for each protocol."""
    with answering() as answers:
        for protocol, count in counts.items():
            flood(answers[protocol], MADE[protocol], max(count // 10, 1), seed=1)
            gc.collect()
            before, begin = resident_bytes(), time.process_time()
            statuses = flood(answers[protocol], MADE[protocol], count, SEEDS[protocol])
            gc.collect()
            yield {
                "where": "in process",
                "protocol": protocol,
                "messages": count,
                "seed": SEEDS[protocol],
                "statuses": dict(statuses.most_common()),
                "memory_kilobytes": (resident_bytes() - before) >> 10,
                "processor_seconds": round(time.process_time() - begin, 1),
            }


def over_sockets(counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """One part for each protocol, with what a good client saw."""
    import grpc

    with child(SERVICE) as service:
        port = service.stdout.readline().strip()
        with child(GOOD, port) as good, grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
            good.stdout.readline()
            for protocol, count in counts.items():
                measured(good, 2.0)
                quiet = measured(good, 10.0)
                call = opened.unary_unary({"predict": PREDICT, "infer": INFER}[protocol])
                rng, statuses = random.Random(SEEDS[protocol] + 100), Counter[str]()
                before, begin = resident_bytes(service.pid), time.monotonic()
                beside: list[dict[str, float]] = []
                sent = 0
                while sent < count:
                    print("10", file=good.stdin, flush=True)
                    end = time.monotonic() + 10
                    while time.monotonic() < end and sent < count:
                        data = MADE[protocol](rng)
                        try:
                            call(data, timeout=30)
                            statuses["OK"] += 1
                        except grpc.RpcError as error:
                            statuses[error.code().name] += 1
                        sent += 1
                    full = time.monotonic() >= end
                    heard = read(good)
                    if full:
                        beside.append(heard)
                yield {
                    "where": "over sockets",
                    "protocol": protocol,
                    "messages": count,
                    "seed": SEEDS[protocol] + 100,
                    "statuses": dict(statuses.most_common()),
                    "memory_kilobytes": (resident_bytes(service.pid) - before) >> 10,
                    "seconds": round(time.monotonic() - begin, 1),
                    "good_client_quiet": quiet,
                    "good_client_beside": {
                        name: round(sum(each[name] for each in beside) / len(beside), 2) for name in beside[0]
                    }
                    if beside
                    else heard,
                }


def measured(good: Any, seconds: float) -> dict[str, float]:
    print(seconds, file=good.stdin, flush=True)
    return read(good)


def read(good: Any) -> dict[str, float]:
    answers, half, most = good.stdout.readline().split()
    return {"answers": int(answers), "p50_ms": round(float(half), 2), "p99_ms": round(float(most), 2)}


@contextmanager
def child(code: str, *arguments: str) -> Iterator[Any]:
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def resident_bytes(pid: int | str = "self") -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1_000_000, help="in process; a twentieth over sockets")
    parser.add_argument("--write", action="store_true", help="keep what was measured in benchmarks/results")
    arguments = parser.parse_args()
    half = arguments.messages // 2
    parts = []
    for part in (
        over_sockets({"predict": half // 20, "infer": half // 20}),
        in_process({"predict": half, "infer": half, "rest": half // 5}),
    ):
        for found in part:
            print(json.dumps(found), flush=True)
            parts.append(found)
    if arguments.write:
        RESULTS.write_text(json.dumps(parts, indent=2) + "\n")


if __name__ == "__main__":
    main()
