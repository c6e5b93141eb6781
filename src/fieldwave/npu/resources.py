"""Multipliers, block memory and logic that a configuration takes of a part, and whether they are there."""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import TRACE_ENTRIES
from fieldwave.npu.parts import Part

__all__ = ["Resources", "fits", "look_up_tables", "memories", "resources"]

PRODUCT, REQUANTIZER, DIVIDER, LOOK_UP, SCALE_SHIFT = 17.6, 784, 540, 97, 398
"""Look-up tables of a product and its share of the sums, of a lane of the requantizer and the residual add behind
it, of a divider for averages, of an output's table, of an input's scale-shift."""
ONCE, PER_INPUT, PER_OUTPUT, SHARED = 3000, 125, 300, 180
"""Of the rest: whatever the size, for each lane, and for each input lane where several pixel lanes share banks."""
FIRST_PIXEL = 8
"""Products that say where each further pixel lane begins (`lanes.py`): line and column of input, output and
residual, and of the input's edges."""
SHALLOW = 64
"""Memories of so few words are made of logic."""
ACCUMULATOR_BITS = 32
RESULT_FLAGS = 17
"""Bits beside the lanes of a result: its taps, and whether it ends a tile."""


@dataclass(frozen=True)
class Resources:
    """What a configuration takes.

    Attributes:
        logic: look-up tables, estimated; None for parts that nothing is known of, which have more than enough.
        multipliers: blocks of the part.
        blocks: block memories, kind by kind as the part lists them.
        memory_bytes: of all memories, however they are made.
    """

    logic: int | None
    multipliers: int
    blocks: tuple[int, ...]
    memory_bytes: int


def look_up_tables(configuration: Configuration) -> int:
    """Those of six inputs, memory among them, that an NPU takes of AMD's UltraScale+, two products to a DSP48E2.

    From Yosys' counts of one row and of one lane of each unit, and of the rest of five cores
    (benchmarks/card_synthesis.py), off by a few per cent for other configurations.
    """
    c = configuration
    divided = max(1, c.requantizer_lanes // 4) * DIVIDER
    lane = (
        PRODUCT * c.input_lanes * c.output_lanes
        + REQUANTIZER * c.requantizer_lanes
        + divided
        + (LOOK_UP * c.output_lanes if c.lookup else 0)
        + (SCALE_SHIFT * c.input_lanes if c.prescale_words else 0)
        + (PER_INPUT + (SHARED if c.pixel_lanes > 1 else 0)) * c.input_lanes
        + PER_OUTPUT * c.output_lanes
    )
    return round(ONCE + c.pixel_lanes * lane)


def memories(configuration: Configuration) -> list[tuple[int, int]]:
    """Depth and width in bits of every memory that is made of blocks, the largest first."""
    c, lanes = configuration, configuration.pixel_lanes
    result = c.output_lanes * ACCUMULATOR_BITS + RESULT_FLAGS
    # Each lane has a copy of the banks, each copy as many parts.
    found = [(-(-words // lanes), c.input_lanes * 8) for words in c.bank_words] * lanes * lanes
    found += [(c.ring_beats, c.port_bits), (TRACE_ENTRIES, 64), (TRACE_ENTRIES, 64)]
    found += [(c.block_pixels, result)] * 2 * lanes  # the sums, and the queue behind them
    if c.lookup:
        found += [(256, 8)] * c.output_lanes * lanes
    if c.prescale_words:
        found += [(c.prescale_words, 45)] * c.input_lanes * lanes
    return sorted((one for one in found if one[0] > SHALLOW), key=lambda one: -one[0] * one[1])


def resources(configuration: Configuration, target: Part) -> Resources:
    """What ``configuration`` takes of ``target``: each memory of the first kind that it half fills,
    or of the one that wastes least."""
    c = configuration
    scaled = c.input_lanes * c.pixel_lanes if c.prescale_words else 0
    wide = c.requantizer_lanes * c.pixel_lanes * target.wide_product
    multipliers = -(-c.multipliers // target.products) + -(-scaled // target.single) + wide
    multipliers += FIRST_PIXEL * (c.pixel_lanes - 1)
    used = [0] * len(target.blocks)
    for depth, width in memories(c):
        choices = []
        for kind, block in enumerate(target.blocks):
            count = block.needed(depth, width)
            capacity = count * max(deep * wide for deep, wide in block.shapes)
            short, wasteful = used[kind] + count > block.count, capacity > 2 * depth * width
            choices.append((short, wasteful * capacity, kind, count))
        _, _, kind, count = min(choices)
        used[kind] += count
    logic = look_up_tables(c) if target.six_inputs else None
    return Resources(logic, multipliers, tuple(used), sum(depth * width for depth, width in memories(c)) // 8)


def fits(configuration: Configuration, target: Part) -> bool:
    """Whether ``target`` has all that ``configuration`` takes."""
    taken = resources(configuration, target)
    if taken.logic is not None and taken.logic > target.logic:
        return False
    enough = all(used <= block.count for used, block in zip(taken.blocks, target.blocks, strict=True))
    return enough and taken.multipliers <= target.multipliers
