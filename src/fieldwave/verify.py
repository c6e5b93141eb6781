"""The proof: run a package on a device and compare every quantized tensor with the golden model, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.devices import Device
from fieldwave.errors import DeviceError
from fieldwave.golden import run
from fieldwave.graph import Graph, from_onnx
from fieldwave.package import Package

__all__ = ["Comparison", "TensorCheck", "verify"]


@dataclass(frozen=True)
class TensorCheck:
    """One quantized tensor of one image.

    Attributes:
        tensor: its name in ``model.onnx``.
        size: values compared.
        differing: how many of them differ between the device and the golden model.
    """

    tensor: str
    size: int
    differing: int


@dataclass(frozen=True)
class Comparison:
    """One image on a device and in the golden model.

    Attributes:
        checks: each quantized tensor that both have.
        tensors: how many quantized tensors the network has; those that a device fuses away are never there.
    """

    checks: tuple[TensorCheck, ...]
    tensors: int

    @property
    def size(self) -> int:
        """Values compared."""
        return sum(check.size for check in self.checks)

    @property
    def differing(self) -> int:
        """Values that differ."""
        return sum(check.differing for check in self.checks)


def verify(package: Package, device: Device, inputs: Sequence[Mapping[str, NDArray[Any]]]) -> Iterator[Comparison]:
    """Yield, image by image, what the device's tensors are against the golden model's.

    Behind a float section inside the network the golden model goes on from what the device made of that section.

    Args:
        device: opened; the package is loaded into it here.
        inputs: network inputs by tensor name, one image each.

    Raises:
        DeviceError: the device failed, left out the network's last quantized tensor, or made one of another shape.
    """
    graph = from_onnx(package.model)
    device.load(package)
    for one in inputs:
        traced = device.trace(one)
        tensors, taken = _golden(graph, one, traced)
        golden = {name: value for name, value in tensors.items() if value.dtype == np.uint8}
        last = next(reversed(golden))
        if last not in traced:
            raise DeviceError(
                f"device {device.name} shows no {last!r}, the last quantized tensor: nothing is proved"
            )
        shared = [name for name in golden if name in traced and name not in taken]
        checks = tuple(_check(name, golden[name], traced[name], device.name) for name in shared)
        yield Comparison(checks, len(golden))


def _golden(
    graph: Graph, inputs: Mapping[str, NDArray[Any]], traced: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, NDArray[Any]], set[str]]:
    """The golden model's tensors, and which of them were taken from the device.

    What float operators inside the network make is not defined to the bit: there the golden model goes on from the
    device's own bytes.
    """
    tensors, taken = run(graph, inputs), set[str]()
    while True:
        made = (node.output for node in graph.nodes if node.op == "QuantizeLinear")
        gap = next((name for name in made if name not in tensors and name in traced), None)
        if gap is None:
            return tensors, taken
        taken.add(gap)
        tensors = run(graph, {**tensors, gap: traced[gap]})


def _check(name: str, golden: NDArray[Any], found: NDArray[Any], device: str) -> TensorCheck:
    if golden.shape != found.shape:
        raise DeviceError(f"device {device} makes {name!r} of shape {found.shape}, not {golden.shape}")
    return TensorCheck(name, golden.size, int(np.count_nonzero(golden != found)))
