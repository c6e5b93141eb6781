"""Where the channels of every tensor lie in the words of a pixel.

Activation memory is channels-last: a pixel is a run of words of ``input_lanes`` bytes. A plain tensor fills them
from the first lane up. A joined tensor keeps each of its parts at whole words, with unused lanes between, where
weights are zero. A tensor that is part of a joined one shares its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.operations import FeatureMap, Join, Operation
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Layout", "lay_out"]


@dataclass(frozen=True)
class Layout:
    """The place of a tensor's channels.

    Attributes:
        map: its size.
        words: words of its own in every pixel.
        lanes: lane of each channel within those words, int64 [C], ascending.
        buffer: the tensor whose memory it shares; its own name where it stands alone.
        offset: its first word within a pixel of the buffer.
        pitch: words from one pixel of the buffer to the next.
        padding: those of them that are no tensor's.
    """

    map: FeatureMap
    words: int
    lanes: NDArray[np.int64]
    buffer: str
    offset: int = 0
    pitch: int = 0
    padding: int = 0

    @property
    def alone(self) -> bool:
        """Whether the pixels of the buffer are its own."""
        return self.pitch == self.words + self.padding

    @property
    def own_pitch(self) -> int:
        """Words from pixel to pixel where only its own words are on the chip."""
        return self.pitch if self.alone else self.words

    @property
    def row_step(self) -> int:
        """Words from one row to the next."""
        return self.map.width * self.pitch

    @property
    def span(self) -> int:
        """Words from its first to its last, both included, with what lies between."""
        return (self.map.pixels - 1) * self.pitch + self.words

    def channels(self, lanes: int) -> NDArray[np.int64]:
        """The channel in every lane, -1 where there is none; ``lanes`` per word."""
        found = np.full(self.words * lanes, -1, np.int64)
        found[self.lanes] = np.arange(len(self.lanes))
        return found

    def same_lanes(self, other: Layout) -> bool:
        return self.words == other.words and np.array_equal(self.lanes, other.lanes)


def lay_out(
    steps: Sequence[Operation | Join],
    inputs: Sequence[str],
    maps: Mapping[str, FeatureMap],
    configuration: Configuration,
) -> dict[str, Layout]:
    """A layout for every tensor that a section holds in activation memory.

    Args:
        steps: as `copy_shared_parts` leaves them.
        inputs: tensors that come from outside.
        maps: sizes; copies made for joins have those of the part they stand for.
    """
    lanes = configuration.input_lanes
    own: dict[str, tuple[FeatureMap, int, NDArray[np.int64]]] = {}

    def plain(size: FeatureMap) -> tuple[FeatureMap, int, NDArray[np.int64]]:
        return size, -(-size.channels // lanes), np.arange(size.channels)

    for name in inputs:
        own[name] = plain(maps[name])
    joins: dict[str, tuple[str, int]] = {}  # part -> joined tensor, first word
    for step in steps:
        if isinstance(step, Join):
            words, found = 0, []
            for name in step.inputs:
                found.append(own[name][2] + words * lanes)
                joins[name] = step.output, words
                words += own[name][1]
            own[step.output] = maps[step.output], words, np.concatenate(found)
            continue
        source = own[step.input]
        size = maps.get(step.output, source[0])
        if step.residual is not None:
            own[step.output] = (size, *own[step.residual.tensor][1:])
        elif _word_by_word(step):
            own[step.output] = (size, *source[1:])
        else:
            own[step.output] = plain(size)

    layouts = {}
    for name, (size, words, places) in own.items():
        buffer, offset = name, 0
        while buffer in joins:
            buffer, start = joins[buffer]
            offset += start
        # Pixel lanes write in the same cycle where words from pixel to pixel are odd (see tile.py).
        padding = int(configuration.pixel_lanes > 1 and own[buffer][1] % 2 == 0)
        layouts[name] = Layout(size, words, places, buffer, offset, own[buffer][1] + padding, padding)
    return layouts


def _word_by_word(operation: Operation) -> bool:
    """Each output channel depends on the input channel of the same number only, so it may stay in its lane."""
    if operation.opcode != Opcode.CONV:
        return True
    assert operation.weights is not None
    return operation.group == len(operation.weights) and operation.weights.shape[1] == 1
