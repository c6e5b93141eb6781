"""A node with its surroundings, and the questions that lowering asks about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import FeatureMap
from fieldwave.compiler.shapes import TensorType
from fieldwave.golden import Window
from fieldwave.graph import Node
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE

__all__ = ["MOST_SHIFT", "Refused", "Scope", "checked", "highest"]

MOST_SHIFT = 15
"""Bits by which residuals and averages are shifted exactly."""


class Refused(Exception):
    """The NPU cannot run this node; the message says why."""


@dataclass(frozen=True)
class Scope:
    """A node with all that is known about its surroundings."""

    node: Node
    constants: Mapping[str, NDArray[Any]]
    types: Mapping[str, TensorType]
    maps: Mapping[str, FeatureMap]
    readers: Sequence[Node]
    configuration: Configuration

    def activations(self) -> list[str]:
        """The tensors that it reads and makes, without constants."""
        return [n for n in (*self.node.inputs, *self.node.outputs) if n and n not in self.constants]

    def map(self, index: int = 0) -> FeatureMap:
        """The feature map of an input."""
        name = self.node.inputs[index]
        if name in self.constants:
            raise Refused(f"input {name!r} is a constant")
        if name not in self.maps:
            raise Refused(f"input {name!r} is {self.types[name]}; the NPU reads uint8 maps of one image")
        return self.maps[name]

    def image(self) -> FeatureMap:
        """The first input, which must be [1, C, H, W]."""
        found = self.map()
        if found.form != "nchw":
            raise Refused(f"input {self.node.inputs[0]!r} is no [1, C, H, W] map")
        if str(self.node.attributes.get("auto_pad", "NOTSET")) != "NOTSET":
            raise Refused(f"auto_pad is {self.node.attributes['auto_pad']}; write the pads out")
        return found

    def constant(self, index: int) -> NDArray[Any]:
        name = self.node.inputs[index]
        if name not in self.constants:
            raise Refused(f"input {name!r} must be a constant")
        return np.asarray(self.constants[name])

    def scalar(self, index: int) -> Any:
        value = self.constant(index)
        if value.size != 1:
            raise Refused(f"{self.node.inputs[index]!r} holds {value.size} values; the NPU takes one for a tensor")
        return value.reshape(())[()]

    def zero(self, index: int) -> int:
        value = self.scalar(index)
        if value.dtype != np.uint8:
            raise Refused(f"zero point {self.node.inputs[index]!r} is {value.dtype}; activations must be uint8")
        return int(value)

    def exponent(self, scale: int, result: int) -> int:
        """log2 of one scale over another."""
        fraction, exponent = math.frexp(float(self.scalar(scale)) / float(self.scalar(result)))
        if fraction != 0.5:
            raise Refused("its scales are no powers of two")
        if abs(exponent - 1) > MOST_SHIFT:
            raise Refused(f"its scales differ by 2^{abs(exponent - 1)}; the NPU goes up to 2^{MOST_SHIFT}")
        return exponent - 1

    def binary_zero(self, index: int) -> int:
        """A zero point of an operator that is exact for 0 and 128 only."""
        zero = self.zero(index)
        if zero not in (0, 128):
            raise Refused(f"zero point {self.node.inputs[index]!r} is {zero}; here it must be 0 or 128")
        return zero

    def symmetric(self, weights: int, zero: int) -> NDArray[Any]:
        """int8 weights with zero point 0."""
        if self.constant(weights).dtype != np.int8 or np.any(self.constant(zero)):
            raise Refused("its weights are not symmetric int8")
        return self.constant(weights)

    def channels_first(self) -> None:
        if int(self.node.attributes.get("channels_last", 0)):
            raise Refused("channels_last must be 0")

    def window(self, kernel: tuple[int, ...] | None = None) -> Window:
        """The sliding window of the node's attributes, within what a descriptor holds."""
        return checked(Window.of(self.node, kernel))


def checked(window: Window) -> Window:
    """The window itself, if a descriptor can hold it."""
    for what, field, sizes in (
        ("kernel", "kernel_height", window.kernel),
        ("stride", "stride_y", window.strides),
        ("dilation", "dilation_y", window.dilations),
    ):
        if max(sizes) > highest(field):
            raise Refused(f"its {what} is {list(sizes)}; the NPU goes up to {highest(field)}")
    return window


def highest(field: str) -> int:
    """The largest value of a field of compute descriptors."""
    return COMPUTE.positions[field][0].highest
