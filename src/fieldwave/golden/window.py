"""The sliding window that convolutions and pools share (ONNX, operators Conv and *Pool)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fieldwave.graph import Node

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """Kernel size and steps, rows first.

    Attributes:
        kernel: height and width.
        strides: pixels between two windows.
        pads: pixels added at the top, left, bottom and right.
        dilations: pixels between two taps of one window.
        ceil_mode: count windows with ceil instead of floor (pools only).
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    ceil_mode: bool = False

    @classmethod
    def of(cls, node: Node, kernel: tuple[int, ...] | None = None) -> Window:
        """The window that a node's attributes describe."""
        return cls(
            kernel=kernel or node.ints("kernel_shape", ()),
            strides=node.ints("strides", (1, 1)),
            pads=node.ints("pads", (0, 0, 0, 0)),
            dilations=node.ints("dilations", (1, 1)),
            ceil_mode=bool(node.attributes.get("ceil_mode", 0)),
        )

    def reach(self, axis: int) -> int:
        """Pixels from a window's first tap to its last, both included."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def count(self, axis: int, size: int) -> int:
        """How many windows fit along an axis of ``size`` pixels."""
        before, after, stride = self.pads[axis], self.pads[axis + 2], self.strides[axis]
        free = size + before + after - self.reach(axis)
        if not self.ceil_mode:
            return free // stride + 1
        count = -(-free // stride) + 1
        # A window begins inside the map or its leading padding, or it does not count.
        return count - 1 if (count - 1) * stride >= size + before else count

    def views(self, x: NDArray[Any]) -> NDArray[Any]:
        """[N, C, oH, oW, kH, kW] views of ``x`` [N, C, H, W] with zeros around it."""
        margins = []
        for axis, size in enumerate(x.shape[2:]):
            needed = (self.count(axis, size) - 1) * self.strides[axis] + self.reach(axis) - size - self.pads[axis]
            margins.append((self.pads[axis], max(self.pads[axis + 2], needed)))
        padded = np.pad(x, ((0, 0), (0, 0), *margins))
        every = sliding_window_view(padded, (self.reach(0), self.reach(1)), (2, 3))
        (down, right), (row, column) = self.strides, self.dilations
        return every[:, :, ::down, ::right, ::row, ::column]
