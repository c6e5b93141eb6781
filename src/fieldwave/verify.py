"""The proof: run a package on a device and compare every quantized tensor with the golden model, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.devices import Device
from fieldwave.golden import run
from fieldwave.graph import from_onnx
from fieldwave.package import Package

__all__ = ["TensorCheck", "verify"]


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


def verify(
    package: Package, device: Device, inputs: Sequence[Mapping[str, NDArray[Any]]]
) -> Iterator[tuple[TensorCheck, ...]]:
    """Yield, image by image, what the device's tensors are against the golden model's.

    Args:
        device: opened; the package is loaded into it here.
        inputs: network inputs by tensor name, one image each.

    Raises:
        DeviceError: the device failed, or left out a tensor that it should have made.
    """
    graph = from_onnx(package.model)
    device.load(package)
    for one in inputs:
        golden = run(graph, one)
        traced = device.trace(one)
        names = [name for name in golden if name in traced and name not in one]
        yield tuple(
            TensorCheck(name, golden[name].size, int(np.count_nonzero(golden[name] != traced[name])))
            for name in names
            if golden[name].dtype == np.uint8
        )
