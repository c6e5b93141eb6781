"""A small network on a small device, for tests of the service and of its clients."""

from __future__ import annotations

import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldwave.devices import Counters
from fieldwave.package import Package, TensorSpec, write_package
from fieldwave.preprocess import Preprocessing
from fieldwave.serving import ServeOptions, Server
from fieldwave.serving.http2 import Http2Server

INPUT = TensorSpec(name="Placeholder:0", aliases=("images",), shape=(None, 4, 5, 3))
SCORES = TensorSpec(name="classifier/Softmax:0", aliases=("output_alias",), shape=(None, 10))
FEATURES = TensorSpec(name="features:0", aliases=("features_alias",), shape=(None, 200, 100))
IMAGES = Preprocessing(height=4, width=5, resize="stretch", mean=(1.0, 2.0, 3.0), scale=0.5)


class Affine:
    """A device whose network is ``2 x + 1`` of the first ten values, and the same repeated as large features.

    Attributes:
        runs: how often it ran.
        before: called with the run's number before each run; a test blocks or fails there.
    """

    name = "affine"

    def __init__(self, before: Callable[[int], None] = lambda run: None) -> None:
        self.runs = 0
        self.before = before
        self.closed = threading.Event()

    def open(self) -> None: ...

    def load(self, package: Package) -> None:
        self.exchange(self.prepare(package))

    def prepare(self, package: Package) -> Any:
        return package.manifest.outputs

    def exchange(self, network: Any) -> Any:
        before, self.outputs = getattr(self, "outputs", ()), network
        return before

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.runs += 1
        self.before(self.runs)
        (values,) = inputs.values()
        assert values.dtype == np.float32
        assert values.flags.c_contiguous
        scores = affine(values)
        return {spec.name: np.resize(scores, (len(scores), *spec.shape[1:])) for spec in self.outputs}

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self.run(inputs)

    def counters(self) -> Counters:
        return Counters(images=self.runs, busy_seconds=0.0)

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Affine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def affine(values: NDArray[Any]) -> NDArray[np.float32]:
    """What `Affine` answers, [N, 10]."""
    with np.errstate(all="ignore"):  # infinities and NaN are numbers like any other here
        scores: NDArray[np.float32] = 2 * values.reshape(len(values), -1)[:, :10] + np.float32(1)
    return scores


def package(
    *outputs: TensorSpec,
    inputs: tuple[TensorSpec, ...] = (INPUT,),
    images: Preprocessing | None = IMAGES,
    network: str = "affine",
) -> Package:
    """A package of that network, by default with the scores alone."""
    with tempfile.TemporaryDirectory() as folder:
        return write_package(
            Path(folder) / "affine.zip",
            network=network,
            model=b"none",
            inputs=inputs,
            outputs=outputs or (SCORES,),
            preprocessing=images,
        )


@contextmanager
def serving(device: Affine | None = None, *outputs: TensorSpec, **options: Any) -> Iterator[Server]:
    """A running server on a free port."""
    with Server(
        ServeOptions(package=package(*outputs), **{"grpc_port": 0, **options}),
        Affine() if device is None else device,
    ) as server:
        yield server


@contextmanager
def channel(server: Server) -> Iterator[grpc.Channel]:
    """A bare gRPC channel to ``server``."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


def tensor(batch: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """Random network input."""
    return np.random.default_rng(seed).standard_normal((batch, 4, 5, 3), dtype=np.float32)


def pixels(batch: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    """Random pixels of the network's size."""
    return np.random.default_rng(seed).integers(0, 256, (batch, 4, 5, 3), dtype=np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file of one image."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG file that promises so many pixels."""
    content = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + content + struct.pack(">I", zlib.crc32(content))


def own(server: Server) -> Http2Server:
    """Who speaks gRPC's wire for it."""
    assert server._grpc is not None
    found: Http2Server = server._grpc._plain
    return found


def settled(condition: Any) -> bool:
    """Whether it holds within ten seconds."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return bool(condition())
