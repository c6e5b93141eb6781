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
from fieldwave.graph import from_onnx
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

    Args:
        device: opened; the package is loaded into it here.
        inputs: network inputs by tensor name, one image each.

    Raises:
        DeviceError: the device failed, left out the network's last quantized tensor, or made one of another shape.
    """
    graph = from_onnx(package.model)
    device.load(package)
    for one in inputs:
        golden = {name: value for name, value in run(graph, one).items() if value.dtype == np.uint8}
        traced = device.trace(one)
        last = next(reversed(golden))
        if last not in traced:
            raise DeviceError(
                f"device {device.name} shows no {last!r}, the last quantized tensor: nothing is proved"
            )
        shared = [name for name in golden if name in traced]
        checks = tuple(_check(name, golden[name], traced[name], device.name) for name in shared)
        yield Comparison(checks, len(golden))


def _check(name: str, golden: NDArray[Any], found: NDArray[Any], device: str) -> TensorCheck:
    if golden.shape != found.shape:
        raise DeviceError(f"device {device} makes {name!r} of shape {found.shape}, not {golden.shape}")
    return TensorCheck(name, golden.size, int(np.count_nonzero(golden != found)))
