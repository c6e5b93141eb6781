"""From operations to the loop nest of the hardware: tiles of output channels, blocks of pixels, steps.

The hardware runs, for one descriptor::

    for tile:                          # output_lanes output channels
      for block:                       # block_pixels output pixels
        for ky, kx, word of the input: # one weight tile each
          for pixel of the block

Where output channels need only some of the input's words (groups, depthwise), a run of output words that need
equally many, at a constant distance, is one descriptor: a `Run`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.pooled import results_width
from fieldwave.compiler.strips import Strip, convolved
from fieldwave.errors import ModelError
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE, Opcode

__all__ = ["Run", "Tiling", "array_cycles", "tile"]


LONG = 32
"""Output pixels beside which one more does not count."""


@dataclass(frozen=True)
class Run:
    """Consecutive output words that one descriptor computes.

    Attributes:
        output_word: the first.
        tiles: tiles of output channels.
        input_word: first word of the input that the first output word needs.
        input_words: how many words it needs.
        input_step: words of the input from the need of one output word to that of the next.
        output_slice: place of the first tile in its word.
    """

    output_word: int
    tiles: int
    input_word: int
    input_words: int
    input_step: int
    output_slice: int = 0


@dataclass(frozen=True)
class Tiling:
    """How an operation is cut.

    Attributes:
        runs: its descriptors.
        lanes: pixel lanes that have pixels.
        blocks: blocks of output pixels, of each of them.
        block_pixels: pixels of each block but the last.
        last_pixels: pixels of the last block.
        repeat: for each run, whether the stream holds the weights once per block.
        words: of a global sum: the words of its one pixel, which take the place of output pixels; else 0.
    """

    runs: tuple[Run, ...]
    lanes: int
    blocks: int
    block_pixels: int
    last_pixels: int
    repeat: tuple[bool, ...]
    words: int = 0

    @property
    def pixels(self) -> int:
        """Output pixels of a lane; the last one may have fewer."""
        return (self.blocks - 1) * self.block_pixels + self.last_pixels


def tile(
    operation: Operation, strip: Strip, layouts: Mapping[str, Layout], configuration: Configuration
) -> Tiling:
    """Cut a strip of an operation; pixels are split evenly (196 is 2 x 98, not 128 and 68).

    Raises:
        ModelError: more steps or blocks than a descriptor can count.
    """
    source, result = layouts[operation.input], layouts[operation.output]
    runs = tuple(_runs(operation, source, result, configuration))
    first, last = convolved(operation, strip)
    words = strip.height if operation.sums_words else 0  # a step of one pixel would take as long as one of four
    everything = words or (last - first) * results_width(operation, result.map.width)
    pixels = _lane_pixels(everything, configuration)
    blocks = -(-pixels // configuration.block_pixels)
    block_pixels = -(-pixels // blocks)
    blocks = -(-pixels // block_pixels)
    taps = operation.window.kernel[0] * operation.window.kernel[1]
    steps = [taps * run.input_words for run in runs]
    for what, count, field in (("steps", max(steps), "steps"), ("blocks of pixels", blocks, "blocks")):
        if count > COMPUTE.positions[field][0].highest:
            raise ModelError(
                f"node {operation.name!r} takes {count} {what}; a descriptor counts to "
                f"{COMPUTE.positions[field][0].highest}: choose a configuration with more lanes"
            )
    room = configuration.ring_beats - configuration.burst_beats
    repeat = tuple(
        operation.opcode == Opcode.CONV and blocks > 1 and count * configuration.tile_beats > room
        for count in steps
    )
    lanes = -(-everything // pixels)
    return Tiling(runs, lanes, blocks, block_pixels, pixels - (blocks - 1) * block_pixels, repeat, words)


def _lane_pixels(pixels: int, configuration: Configuration) -> int:
    """How many of an operation's output pixels each pixel lane takes.

    An odd number, where that costs next to nothing: with an odd number of words from pixel to pixel, too, the
    lanes write to different parts of the bank in every cycle.
    """
    each = -(-pixels // configuration.pixel_lanes)
    if configuration.pixel_lanes > 1 and (each >= LONG or each < configuration.tile_beats):
        each |= 1
    return each


def array_cycles(operation: Operation, tiling: Tiling, run: Run, configuration: Configuration) -> int:
    """Cycles in which the array (or the pool) takes a vector, or waits for the weights of a step to be loaded."""
    steps = operation.window.kernel[0] * operation.window.kernel[1] * run.input_words
    least = configuration.tile_beats if operation.opcode == Opcode.CONV else 1
    blocks = [tiling.block_pixels] * (tiling.blocks - 1) + [tiling.last_pixels]
    return run.tiles * steps * sum(max(pixels, least) for pixels in blocks)


def _runs(operation: Operation, source: Layout, result: Layout, configuration: Configuration) -> Iterator[Run]:
    if operation.sums_words:
        yield Run(0, configuration.slices, 0, 1, 0)
        return
    if operation.opcode != Opcode.CONV:
        yield Run(0, _tiles(result, 0, result.words, configuration), 0, 1, 1)
        return
    if operation.group == 1:
        first = int(result.lanes[0]) // configuration.output_lanes
        tiles = _tiles(result, 0, result.words, configuration) - first
        yield Run(0, tiles, 0, source.words, 0, first)
        return
    needs = _needs(operation, source, result, configuration)
    start = 0
    while start < len(needs):
        end, step = start + 1, 0
        if end < len(needs) and needs[end][1] == needs[start][1] and needs[end][0] >= needs[start][0]:
            step = needs[end][0] - needs[start][0]
            while end < len(needs) and needs[end] == (needs[end - 1][0] + step, needs[start][1]):
                end += 1
        yield Run(start, _tiles(result, start, end, configuration), *needs[start], step)
        start = end


def _tiles(result: Layout, start: int, end: int, configuration: Configuration) -> int:
    """Tiles from a word's first lane up to the last that holds a channel of the words before ``end``."""
    lanes = configuration.input_lanes
    used = result.lanes[(result.lanes >= start * lanes) & (result.lanes < end * lanes)]
    return -(-(int(used[-1]) + 1 - start * lanes) // configuration.output_lanes)


def _needs(
    operation: Operation, source: Layout, result: Layout, configuration: Configuration
) -> list[tuple[int, int]]:
    """For every output word the first word of the input that its channels need, and how many."""
    assert operation.weights is not None
    lanes, channels = configuration.input_lanes, result.channels(configuration.input_lanes)
    share_in = operation.weights.shape[1]
    share_out = len(operation.weights) // operation.group
    needs = []
    for word in range(result.words):
        here = channels[word * lanes : (word + 1) * lanes]
        groups = here[here >= 0] // share_out
        low, high = int(np.min(groups)) * share_in, (int(np.max(groups)) + 1) * share_in - 1
        first, last = int(source.lanes[low]) // lanes, int(source.lanes[high]) // lanes
        needs.append((first, last - first + 1))
    return needs
