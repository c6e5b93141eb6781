"""Kinds of devices, and how long each takes for one image of a network."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fieldwave.bench import example_input
from fieldwave.compiler import compile_network
from fieldwave.compiler.estimate import Memory, estimate_network
from fieldwave.devices import lease_device
from fieldwave.graph import Graph
from fieldwave.npu import configuration
from fieldwave.package import Package
from fieldwave.plan.costs import HOST_MACS_PER_SECOND

__all__ = ["DeviceKind", "cpu_kind", "npu_kind"]


@dataclass(frozen=True)
class DeviceKind:
    """A device and what it makes of a network.

    Attributes:
        name: of the NPU, or ``cpu``.
        seconds: of one image, or of several as they were measured.
        source: where that is from: ``estimated``, ``measured``.
        megahertz, bandwidth: clock, and GB/s of its memory; 0 for ``cpu``.
        host_seconds: the part of it that is computed by the machine's processor.
    """

    name: str
    seconds: tuple[float, ...]
    source: str
    megahertz: float = 0.0
    bandwidth: float = 0.0
    host_seconds: float = 0.0

    @property
    def mean(self) -> float:
        """Mean seconds of one image."""
        return sum(self.seconds) / len(self.seconds)


def npu_kind(graph: Graph, name: str, megahertz: float, bandwidth: float, latency: int = 100) -> DeviceKind:
    """An NPU by the estimator; what the network leaves to the host takes its share of what the host can do.

    Args:
        bandwidth: of its memory, GB/s.
        latency: of its memory, in cycles.

    Raises:
        NotFoundError: there is no such NPU.
        ModelError: the network does not fit it.
    """
    npu = configuration(name)
    estimate = estimate_network(compile_network(graph, npu), npu, Memory(bandwidth * 1e3 / megahertz, latency))
    host = (estimate.macs - estimate.npu_macs) / HOST_MACS_PER_SECOND
    return DeviceKind(name, (estimate.seconds(megahertz) + host,), "estimated", megahertz, bandwidth, host)


def cpu_kind(package: Package, *, seconds: float = 1.0) -> DeviceKind:
    """This machine's processor, by running it again and again.

    Raises:
        DeviceError: it failed.
    """
    inputs = example_input(package)
    times: list[float] = []
    with lease_device("cpu", "plan") as device:
        device.load(package)
        device.run(inputs)
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            device.run(inputs)
            times.append(time.perf_counter() - begin)
    return DeviceKind("cpu", tuple(times), "measured", host_seconds=sum(times) / len(times))
