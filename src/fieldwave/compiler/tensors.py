"""Tensors in the memory of a program: what the host writes before a run and reads after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.fold import Fold
from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import FeatureMap
from fieldwave.errors import TensorError
from fieldwave.npu import Configuration

__all__ = ["MemoryTensor", "in_memory"]


@dataclass(frozen=True)
class MemoryTensor:
    """One tensor: channels-last bytes.

    Attributes:
        name: in the ONNX graph.
        map: size, and form of the array that `pack` takes and `unpack` gives.
        offset: first byte, from the program's header on.
        pixel_step, row_step: bytes from pixel to pixel and from row to row.
        parts: ``(first byte in the pixel, channels)`` of each run of channels, in order.
        fold: an input of which each pixel in memory holds several of the image; `unpack` does not take it.
    """

    name: str
    map: FeatureMap
    offset: int
    pixel_step: int
    row_step: int
    parts: tuple[tuple[int, int], ...]
    fold: Fold | None = None

    @property
    def rows(self) -> int:
        """Rows in memory."""
        return self.map.height if self.fold is None else self.fold.size[0]

    @property
    def width(self) -> int:
        """Pixels in a row in memory."""
        return self.map.width if self.fold is None else self.fold.size[1]

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.rows * self.row_step

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        height, width, channels = self.map.height, self.map.width, self.map.channels
        if self.map.form == "flat":
            return (1, channels * height * width)
        return (1, height, width, channels) if self.map.form == "nhwc" else (1, channels, height, width)

    def pack(self, array: NDArray[np.uint8], memory: NDArray[np.uint8]) -> None:
        """Write a uint8 array of `shape` into the program's memory.

        Raises:
            TensorError: the array is another.
        """
        if array.dtype != np.uint8 or array.shape != self.shape:
            raise TensorError(
                f"tensor {self.name!r} is {array.dtype} {list(array.shape)}; "
                f"the program takes uint8 {list(self.shape)}"
            )
        size = (self.map.height, self.map.width, self.map.channels)
        if self.map.form == "nhwc":
            values = array.reshape(size)
        else:
            values = array.reshape(size[2], size[0], size[1]).transpose(1, 2, 0)
        if self.fold is not None:
            start = self.offset + self.parts[0][0]
            self.fold.write(values, memory[start : self.offset + self.size], self.row_step, self.pixel_step)
            return
        target, channel = self._pixels(memory), 0
        for start, count in self.parts:
            target[:, :, start : start + count] = values[:, :, channel : channel + count]
            channel += count

    def unpack(self, memory: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of the array in the program's memory."""
        source = self._pixels(memory)
        values = np.concatenate([source[:, :, start : start + count] for start, count in self.parts], 2)
        if self.map.form != "nhwc":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values).reshape(self.shape)

    def _pixels(self, memory: NDArray[np.uint8]) -> NDArray[Any]:
        size = (self.rows, self.width, self.pixel_step)
        own = memory[self.offset : self.offset + self.size]
        return np.ndarray(size, np.uint8, own.data, strides=(self.row_step, self.pixel_step, 1))


def in_memory(
    name: str,
    size: FeatureMap,
    layout: Layout,
    offset: int,
    configuration: Configuration,
    fold: Fold | None = None,
    *,
    joined: bool = False,
) -> MemoryTensor:
    """The tensor as LOAD and STORE lay it out: rows begin at beats, and the pixels of a joined one's part too.

    Args:
        joined: it lies in memory within the tensor that it is a part of, whose first byte ``offset`` is then.
    """
    step = _beats(layout.words * configuration.input_lanes, configuration)
    if layout.alone or joined:
        step = layout.pitch * configuration.input_lanes
        offset += layout.offset * configuration.input_lanes
    row_step = _beats(step * layout.map.width, configuration)
    breaks = np.flatnonzero(np.diff(layout.lanes) != 1) + 1
    parts = tuple((int(run[0]), len(run)) for run in np.split(layout.lanes, breaks))
    return MemoryTensor(name, size, offset, step, row_step, parts, fold)


def _beats(size: int, configuration: Configuration) -> int:
    """Bytes of the beats that hold ``size`` bytes."""
    return -(-size // configuration.port_bytes) * configuration.port_bytes
