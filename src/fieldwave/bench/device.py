"""How long a device takes for one image, without any network between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.bench.latency import Latency, measure
from fieldwave.devices import Counters, lease_device
from fieldwave.package import Package

__all__ = ["HardwareTime", "bench_device", "example_input", "hardware_time"]


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
