"""How much of a descriptor may begin while the results of the one before it are still on their way to memory.

The hardware issues a descriptor's first vectors right behind the last of the one before, whose last results are
written some tens of cycles later. A step that reads none of them need not wait; most layers begin with channels,
or rows, that were finished long before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fieldwave.compiler.queues import Task
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE, Opcode

__all__ = ["late_words", "step_words", "with_early_steps"]

PIPELINE = 64
"""Results that are behind the queue of results at most: what requantizer, adder, table and pool hold together."""
ADDRESS_MASK = (1 << COMPUTE.positions["input_base"][0].bits) - 1
MOST = COMPUTE.positions["early"][0].highest
NOTHING = dict.fromkeys(COMPUTE.positions, 0)

Fields = Mapping[str, int]


def with_early_steps(tasks: Sequence[Task], configuration: Configuration) -> list[Task]:
    """The tasks with the field ``early`` of every compute descriptor but the first."""
    result = []
    before: Task | None = None
    for task in tasks:
        if task.queue == "compute":
            if before is not None:
                early = _early_steps({**NOTHING, **before.fields}, {**NOTHING, **task.fields}, configuration)
                task = replace(task, fields={**task.fields, "early": early})
            before = task
        result.append(task)
    return result


def late_words(f: Fields, configuration: Configuration) -> NDArray[np.int64]:
    """Words of the output bank that a descriptor may still have to write when all its vectors have been issued."""
    found = []
    for start, end in _lane_pixels(f, configuration):
        left = configuration.block_pixels + PIPELINE
        for tile in range(f["tiles"] - 1, -1, -1):
            first = max(start, end - left)
            if f["pool"]:
                stride = f["pool_height"] - f["pool_overlap_y"]
                row = max(0, (first // f["output_width"] + f["pool_start_y"] - f["pool_height"] + 1) // stride)
                y, x = np.divmod(np.arange(row * f["pool_columns"], f["pool_rows"] * f["pool_columns"]),
                                 f["pool_columns"])  # fmt: skip
            else:
                y, x = np.divmod(np.arange(first, end), f["output_width"])
            base = f["output_base"] + (f["output_slice"] + tile) // configuration.slices * f["output_tile_step"]
            found.append(base + y * f["output_y_step"] + x * f["output_x_step"])
            left -= end - first
            if left <= 0:
                break
    return np.unique(np.concatenate(found))


def step_words(
    f: Fields, configuration: Configuration, block: int, ky: int, kx: int, word: int
) -> NDArray[np.int64]:
    """Words of the input bank that one step of the first tile reads."""
    pixels = f["last_pixels"] if block == f["blocks"] - 1 else f["block_pixels"]
    begin = block * f["block_pixels"]
    index = np.concatenate(
        [
            np.arange(start + begin, min(start + begin + pixels, end))
            for start, end in _lane_pixels(f, configuration)
        ]
    )
    y, x = np.divmod(index, f["output_width"])
    row = f["start_y"] + y * f["stride_y"] + ky * f["dilation_y"]
    column = f["start_x"] + x * f["stride_x"] + kx * f["dilation_x"]
    inside = (row >= 0) & (row < f["input_height"]) & (column >= 0) & (column < f["input_width"])
    start = f["input_base"] + y * f["input_y_step"] + x * f["input_x_step"]
    return np.asarray((start + ky * f["tap_y_step"] + kx * f["tap_x_step"] + word)[inside] & ADDRESS_MASK)


def _lane_pixels(f: Fields, configuration: Configuration) -> list[tuple[int, int]]:
    """The output pixels of each pixel lane that has some, the last excluded."""
    pixels = f["output_height"] * f["output_width"]
    if configuration.pixel_lanes == 1:
        return [(0, pixels)]
    each = f["lane_pixels"]
    return [(lane * each, min((lane + 1) * each, pixels)) for lane in range(f["lanes"])]


def _early_steps(before: Fields, f: Fields, configuration: Configuration) -> int:
    """Steps from the first on that read no late word; no more are looked at than it takes to write them."""
    if f["input_bank"] != before["output_bank"]:
        return MOST
    late = late_words(before, configuration)
    parts = configuration.output_lanes // configuration.requantizer_lanes
    enough = (configuration.block_pixels + PIPELINE) * parts
    least = configuration.tile_beats if f["opcode"] == Opcode.CONV else 1
    steps = cycles = 0
    for block in range(f["blocks"]):
        for ky in range(f["kernel_height"]):
            for kx in range(f["kernel_width"]):
                for word in range(f["input_tiles"]):
                    words = step_words(f, configuration, block, ky, kx, word)
                    if cycles > enough or np.isin(words, late).any():
                        return min(steps, MOST)
                    steps += 1
                    cycles += max(least, len(words) // configuration.pixel_lanes)
    return min(steps, MOST)
