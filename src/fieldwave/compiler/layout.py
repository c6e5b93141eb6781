"""Where the channels of every tensor lie in the words of a pixel.

Activation memory is channels-last: a pixel is a run of words of ``input_lanes`` bytes. A plain tensor fills them
from the first lane up. A tensor that is part of a joined one shares its pixels. Its parts begin at whole words,
with unused lanes between, where weights are zero; or, if the hardware can, within a word that another part has
left free:

- where a word has several tiles of output channels, each is written by itself, and a part may begin at any tile;
- else a part is *merged*: the word is added to its results as a residual, and each is zero where the other is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
        merged: it is written into a word that already holds other channels.
    """

    map: FeatureMap
    words: int
    lanes: NDArray[np.int64]
    buffer: str
    offset: int = 0
    pitch: int = 0
    padding: int = 0
    merged: bool = False

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
    makers = {step.output: (i, step) for i, step in enumerate(steps) if isinstance(step, Operation)}
    # Who writes the last word of each tensor; None is somebody who may leave anything in its unused lanes.
    tails: dict[str, list[str | None]] = {name: [name if name in makers else None] for name in (*inputs, *makers)}
    followed = {name for step in steps if isinstance(step, Operation) for name in _lanes_follow(step)}
    merged: set[str] = set()
    for step in steps:
        if isinstance(step, Join):
            members = {*step.inputs, *(part for part in joins if _root(part, joins) in step.inputs)}
            next_lane, tail, found = 0, list[str | None](), []
            for name in step.inputs:
                word, lane = -(-next_lane // lanes), 0
                free = name in makers and name not in followed and makers[name][1].input not in members
                if next_lane % lanes and free and _fits(name, next_lane, tail, makers, own, configuration):
                    word, lane = divmod(next_lane, lanes)
                    own[name] = own[name][0], -(-(lane + len(own[name][2])) // lanes), own[name][2] + lane
                    merged |= {name} if configuration.slices == 1 else set()
                found.append(own[name][2] + word * lanes)
                joins[name] = step.output, word
                next_lane = int(found[-1][-1]) + 1
                tail = [*(tail if lane and own[name][1] == 1 else ()), *tails[name]]
            own[step.output] = maps[step.output], -(-next_lane // lanes), np.concatenate(found)
            tails[step.output] = tail
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
        layouts[name] = Layout(
            size, words, places, buffer, offset, own[buffer][1] + padding, padding, merged=name in merged
        )
    return layouts


def _fits(
    name: str,
    lane: int,
    tail: Sequence[str | None],
    makers: Mapping[str, tuple[int, Operation]],
    own: Mapping[str, tuple[FeatureMap, int, NDArray[np.int64]]],
    configuration: Configuration,
) -> bool:
    """Whether a part may begin at a lane of a joined tensor that is within a word.

    Args:
        tail: who has written the rest of that word.
    """
    index, maker = makers[name]
    lanes, channels = configuration.input_lanes, len(own[name][2])
    if maker.opcode != Opcode.CONV or maker.group != 1 or maker.residual is not None or maker.pool is not None:
        return False
    if configuration.slices > 1:
        return lane % configuration.output_lanes == 0
    # Merged: the word was written before, with zeros in the lanes that were free. Such words cannot be streamed.
    before = [makers[other] for other in tail if other is not None]
    clean = len(before) == len(tail) and all(at < index and _leaves_zeros(other) for at, other in before)
    streamable = lanes % configuration.port_bytes == 0
    return clean and lane % lanes + channels <= lanes and maker.table is None and not streamable


def _leaves_zeros(operation: Operation) -> bool:
    """Whether lanes without a channel are zero in what an operation writes."""
    plain = operation.opcode == Opcode.CONV and not _word_by_word(operation)
    return plain and operation.table is None and operation.residual is None


def _lanes_follow(operation: Operation) -> Iterator[str]:
    """The tensors whose lanes an operation's output has."""
    if operation.residual is not None:
        yield operation.residual.tensor
    elif _word_by_word(operation):
        yield operation.input


def _root(name: str, joins: Mapping[str, tuple[str, int]]) -> str:
    """What a part is a part of, in the end."""
    while name in joins:
        name = joins[name][0]
    return name


def _word_by_word(operation: Operation) -> bool:
    """Each output channel depends on the input channel of the same number only, so it may stay in its lane."""
    if operation.opcode != Opcode.CONV:
        return True
    assert operation.weights is not None
    return operation.group == len(operation.weights) and operation.weights.shape[1] == 1
