"""How long a device or a service takes for one image: latency in a closed loop, one request at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.client import PredictionClient
from fieldwave.devices import Counters, lease_device
from fieldwave.package import Package

__all__ = ["HardwareTime", "Latency", "bench_device", "bench_service", "example_input", "hardware_time", "measure"]


@dataclass(frozen=True)
class Latency:
    """Latencies of one closed loop, in milliseconds.

    Attributes:
        count: calls measured, the warm-up not counted.
        p50, p90, p99, best: percentiles and minimum.
        rate: calls finished per second.
    """

    count: int
    p50: float
    p90: float
    p99: float
    best: float
    rate: float


@dataclass(frozen=True)
class HardwareTime:
    """What one image costs an NPU.

    Attributes:
        cycles: clock cycles from start to done, host sections not counted.
        macs: multiply-accumulates of the network.
        utilisation: ``macs`` over what the multipliers could do in these cycles, 0 to 1.
    """

    cycles: float
    macs: int
    utilisation: float

    def milliseconds(self, megahertz: float) -> float:
        """Latency of the NPU at a clock."""
        return self.cycles / (megahertz * 1e3)


def measure(call: Callable[[], object], *, seconds: float = 3.0, warm_up: int = 3) -> Latency:
    """Call again and again for ``seconds``, at least once, after a warm-up of at most as long."""
    begin = time.perf_counter()
    for _ in range(warm_up):
        call()
        if time.perf_counter() - begin > seconds:
            break
    times: list[float] = []
    begin = now = time.perf_counter()
    while not times or now - begin < seconds:
        call()
        before, now = now, time.perf_counter()
        times.append(now - before)
    p50, p90, p99 = (float(value) * 1e3 for value in np.percentile(times, (50, 90, 99)))
    return Latency(len(times), p50, p90, p99, min(times) * 1e3, len(times) / (now - begin))


def example_input(package: Package) -> dict[str, NDArray[Any]]:
    """One seeded image of noise in the range of preprocessed pixels, for every input of the network."""
    rng = np.random.default_rng(0)
    spec = package.preprocessing
    deepest = max(spec.mean) if spec else 128.0
    factor = spec.scale if spec else 1.0
    return {
        tensor.name: ((rng.integers(0, 256, [size or 1 for size in tensor.shape]) - deepest) * factor).astype(
            tensor.dtype
        )
        for tensor in package.manifest.inputs
    }


def bench_device(
    package: Package, device: str = "cpu", *, seconds: float = 3.0
) -> tuple[Latency, HardwareTime | None]:
    """Latency of a device, without any network between, and what its own clock says where it has one.

    Raises:
        NotFoundError: no device of that name.
        DeviceBusyError: others hold the NPUs that would do.
        DeviceError: it failed.
    """
    inputs = example_input(package)
    with lease_device(device, "bench") as opened:
        opened.load(package)
        latency = measure(lambda: opened.run(inputs), seconds=seconds)
        counters = opened.counters()
    return latency, hardware_time(counters)


def hardware_time(counters: Counters) -> HardwareTime | None:
    """What an image costs, from a device's counters; None where it has no clock of its own."""
    if counters.cycles is None or counters.macs is None or counters.utilisation is None:
        return None
    return HardwareTime(counters.cycles / counters.images, counters.macs // counters.images, counters.utilisation)


def bench_service(
    client: PredictionClient, inputs: Mapping[str, NDArray[Any] | bytes], *, seconds: float = 3.0
) -> Latency:
    """Latency of a service as its client sees it.

    Args:
        inputs: what to send: a tensor, or the bytes of an image, by input name.

    Raises:
        ServiceError: the service cannot be reached or failed.
    """
    tensors = {
        name: np.array([value], object) if isinstance(value, bytes) else value for name, value in inputs.items()
    }
    return measure(lambda: client.score_numpy_arrays(tensors), seconds=seconds)
