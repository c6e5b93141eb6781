"""Packages that are damaged and devices that fail, while a client asks: what it sees, and what is left."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fieldwave.errors import DeviceError, NotFoundError, PackageError
from fieldwave.package import write_package
from fieldwave.serving import Server
from fieldwave.wire.messages import PredictResponse
from fieldwave.wire.requests import encode_request
from tests.answering import PREDICT
from tests.served import IMAGES, INPUT, SCORES, Affine, affine, channel, serving, tensor
from tests.served import package as served_package

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@contextmanager
def asked(server: Server) -> Iterator[Counter[str]]:
    """What a client sees that asks all the time; it is never a wrong answer."""
    seen, enough = Counter[str](), threading.Event()

    def ask() -> None:
        request, right = encode_request({"images": tensor()}, ["output_alias"]), affine(tensor()).ravel().tolist()
        with channel(server) as opened:
            while not enough.is_set():
                try:
                    answer = PredictResponse.FromString(opened.unary_unary(PREDICT)(request, timeout=30))
                except grpc.RpcError as error:
                    seen[error.code().name] += 1
                else:
                    found = list(answer.outputs["output_alias"].float_val)
                    seen["right" if found == right else "wrong"] += 1
                time.sleep(0.001)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join()
    assert seen["wrong"] == 0


def until(seen: Counter[str], what: str, count: int) -> None:
    goal, end = seen[what] + count, time.monotonic() + 30
    while seen[what] < goal:
        assert time.monotonic() < end, dict(seen)
        time.sleep(0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "other.zip"
    write_package(
        file, network="affine", model=bytes(3000), inputs=(INPUT,), outputs=(SCORES,), preprocessing=IMAGES
    )
    return file


def test_a_damaged_package_is_refused_and_the_one_before_serves_on(path: Path) -> None:
    whole, rng = path.read_bytes(), random.Random(3)
    damaged = [whole[:cut] for cut in (0, 1, len(whole) // 2, len(whole) - 1)]
    for at in rng.sample(range(len(whole)), 60):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
    with serving() as server, asked(server) as seen:
        until(seen, "right", 5)
        for data in damaged:
            path.write_bytes(data)
            with pytest.raises(PackageError):
                server.load(path)
        path.unlink()
        with pytest.raises(NotFoundError):
            server.load(path)
        until(seen, "right", 5)
        path.write_bytes(whole)
        server.load(path)
        until(seen, "right", 5)
    assert set(seen) <= {"right", "wrong"}


def test_a_service_does_not_begin_with_a_damaged_package(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(bytes(3000)) + 100] ^= 4
    path.write_bytes(data)
    command = [sys.executable, "-m", "fieldwave", "serve", str(path), "--grpc-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {path} is damaged: model.onnx has sha256 ")


def test_a_device_that_fails_is_told_within_a_second_and_serves_again_when_it_is_well() -> None:
    trouble = threading.Event()

    def fail(run: int) -> None:
        if trouble.is_set():
            raise DeviceError("the link to the device is down")

    with (
        serving(Affine(fail), recovery_seconds=0.1) as server,
        channel(server) as opened,
        asked(server) as seen,
    ):
        health = health_pb2_grpc.HealthStub(opened).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(health).status == SERVING
        for _ in range(5):
            until(seen, "right", 3)
            trouble.set()
            begin = time.monotonic()
            assert next(health).status == NOT_SERVING
            until(seen, "UNAVAILABLE", 3)
            trouble.clear()
            assert next(health).status == SERVING
            assert time.monotonic() - begin < 10
    assert set(seen) <= {"right", "wrong", "UNAVAILABLE"}


def test_a_device_that_is_of_another_make_does_not_take_the_package() -> None:
    class Other(Affine):
        def prepare(self, package: object) -> object:
            raise DeviceError("the program is for fingerprint 1234, the device has 5678; compile it again")

    device = Other()
    with pytest.raises(DeviceError, match="fingerprint"), serving(device):
        pass
    assert device.closed.is_set()


def test_a_package_that_its_device_cannot_take_changes_nothing() -> None:
    class Choosy(Affine):
        choosy = False

        def prepare(self, package: object) -> object:
            if self.choosy:
                raise DeviceError("the program is for fingerprint 1234, the device has 5678; compile it again")
            return super().prepare(package)  # type: ignore[arg-type]

    device = Choosy()
    with serving(device) as server, asked(server) as seen:
        until(seen, "right", 3)
        device.choosy = True
        with pytest.raises(DeviceError, match="fingerprint"):
            server.load(served_package())
        until(seen, "right", 3)
    assert set(seen) <= {"right", "wrong"}
