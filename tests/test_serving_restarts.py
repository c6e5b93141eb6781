"""Two replicas that are killed and stopped under load, again and again: what a client of both sees."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fieldwave.client import PredictionClient
from tests.served import affine, tensor

PROGRAM = """
import sys
sys.path.insert(0, ".")
from fieldwave.serving import ServeOptions, serve
from tests.served import Affine, package

options = ServeOptions(package=package(), grpc_port=int(sys.argv[1]), grace_seconds=10)
serve(options, device=Affine(), ready=lambda server: print("ready", flush=True))
"""


class Replica:
    """A serving process that can be ended and started again on its port."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", PROGRAM, str(self.port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times", "code"), [(signal.SIGTERM, 20, 0), (signal.SIGKILL, 100, -9)])
def test_no_request_fails_while_replicas_end_and_come_back(number: signal.Signals, times: int, code: int) -> None:
    replicas = [Replica(), Replica()]
    seen, failures, enough = Counter[str](), [], threading.Event()

    def ask(seed: int) -> None:
        array = tensor(seed=seed)
        with PredictionClient([f"127.0.0.1:{replica.port}" for replica in replicas]) as client:
            while not enough.is_set():
                try:
                    found = client.score_numpy_arrays({"images": array})
                    seen["right" if np.array_equal(found, affine(array)) else "wrong"] += 1
                except Exception as error:
                    failures.append(error)
                time.sleep(0.005)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    try:
        for thread in threads:
            thread.start()
        for turn in range(times):
            goal = seen.total() + 20
            while seen.total() < goal and not failures:
                time.sleep(0.001)
            replica = replicas[turn % 2]
            assert replica.end(number) == code
            replica.start()
    finally:
        enough.set()
        for thread in threads:
            thread.join()
        for replica in replicas:
            replica.process.kill()
            replica.end(signal.SIGKILL)
    print(number.name, times, dict(seen), failures[:3])
    assert failures == []
    assert set(seen) == {"right"}
