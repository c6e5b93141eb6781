"""Services whose device takes a time and computes nothing: what is left is the service.

The device sleeps, so that two cores can stand for several machines.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.devices import Counters
from fieldwave.package import Package, TensorSpec, write_package
from fieldwave.preprocess import Preprocessing
from fieldwave.serving import ServeOptions, serve

__all__ = ["MODEL", "Sleeper", "Started", "photo", "sleepers"]

MODEL = "sleeper"
PHOTO = Path(__file__).resolve().parent.parent / "tests" / "data" / "images" / "snowleopardgaze.jpg"
SCORES = TensorSpec(name="scores:0", aliases=("scores",), shape=(None, 1000))


class Sleeper:
    """A device that takes a time and computes nothing."""

    name = "sleeper"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.images = 0

    def open(self) -> None: ...

    def load(self, package: Package) -> None: ...

    def prepare(self, package: Package) -> None: ...

    def exchange(self, network: None) -> None: ...

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.images += 1
        if self.seconds:
            time.sleep(self.seconds)
        (values,) = inputs.values()
        return {SCORES.name: np.zeros((len(values), 1000), np.float32)}

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self.run(inputs)

    def counters(self) -> Counters:
        return Counters(images=self.images, busy_seconds=0.0)

    def close(self) -> None: ...


@dataclass(frozen=True)
class Started:
    """A service that runs.

    Attributes:
        port, http_port: of gRPC and of HTTP.
        socket: of gRPC.
        pid: of its process.
    """

    port: int
    http_port: int
    socket: Path
    pid: int


def photo(width: int = 640, height: int = 480) -> bytes:
    """A JPEG of about 80 kB."""
    from PIL import Image

    data = io.BytesIO()
    Image.open(PHOTO).convert("RGB").resize((width, height)).save(data, "JPEG", quality=95)
    return data.getvalue()


@contextmanager
def sleepers(count: int, seconds: float, *, workers: int = 4, side: int = 224) -> Iterator[list[Started]]:
    """So many services of images of ``side`` pixels, each a process, as ``fieldwave serve`` runs one."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        package = folder / "sleeper.zip"
        pixels = TensorSpec(name="images:0", aliases=("images",), shape=(None, side, side, 3))
        images = Preprocessing(height=side, width=side, resize="stretch", mean=(104.0, 117.0, 123.0))
        write_package(
            package, network=MODEL, model=b"none", inputs=(pixels,), outputs=(SCORES,), preprocessing=images
        )
        started = []
        for number in range(count):
            near, far = context.Pipe()
            socket = folder / f"{number}.sock"
            process = context.Process(target=_serve, args=(package, socket, seconds, workers, far))
            process.start()
            stack.callback(process.join, 30)
            stack.callback(process.terminate)
            ports = near.recv()
            assert process.pid is not None
            started.append(Started(*ports, socket, process.pid))
        yield started


def _serve(package: Path, socket: Path, seconds: float, workers: int, pipe: Any) -> None:
    ports = {"grpc_port": 0, "http_port": 0}
    options = ServeOptions(package=package, socket=socket, workers=workers, **ports)
    serve(
        options,
        ready=lambda server: pipe.send((server.port, server.http_port)),
        device=Sleeper(seconds),
    )
