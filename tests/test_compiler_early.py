"""How many steps of a descriptor may begin before the one before it has written its last results."""

from __future__ import annotations

import numpy as np
import pytest

from fieldwave.compiler import NpuSection, compile_network
from fieldwave.compiler.early import MOST, PIPELINE, late_words
from fieldwave.compiler.interpreter import Interpreter
from fieldwave.errors import DeviceError
from fieldwave.golden import Window
from fieldwave.graph import Graph
from fieldwave.npu import Configuration
from fieldwave.npu.isa import COMPUTE, HEADER
from tests.programs import run_section
from tests.random_networks import Builder

SQUARE = Configuration(16, 16, (1 << 16, 1 << 16), 1 << 15, 32, 16, block_pixels=64)
POINT, SAME = Window((1, 1)), Window((3, 3), pads=(1, 1, 1, 1))


def early(graph: Graph) -> list[int]:
    """The field of every compute descriptor."""
    (image,) = compile_network(graph, SQUARE).images
    return [task.fields.get("early", 0) for task in image.tasks if task.queue == "compute"]


def test_the_words_before_the_last_one_are_ready() -> None:
    """Three words of channels: the last of them is written last."""
    b = Builder(0)
    x = b.conv(b.input(16, 12, 12), 48, POINT)
    assert early(b.graph(b.conv(x, 16, POINT))) == [0, 2]


def test_rows_far_above_the_last_ones_are_ready() -> None:
    """One word, 32 x 32 pixels: what is late begins with pixel 1024 - 64 - PIPELINE, in row 28."""
    b = Builder(1)
    x = b.conv(b.input(16, 32, 32), 16, POINT)
    assert (1024 - 64 - PIPELINE) // 32 == 28
    # Blocks of two rows and nine steps, far above row 28: as many as it takes to write what is late.
    steps = early(b.graph(b.conv(x, 16, SAME)))[1]
    assert 0 < steps * 64 <= 64 + PIPELINE + 2 * 64


def test_small_layers_wait() -> None:
    b = Builder(2)
    x = b.conv(b.input(16, 4, 4), 16, POINT)
    assert early(b.graph(b.conv(x, 16, POINT))) == [0, 0]


def test_what_reads_another_bank_need_not_wait() -> None:
    """The shortcut's convolution reads what the first one read, which lies in the other bank than its result."""
    b = Builder(3)
    x = b.max_pool(b.input(16, 8, 8), POINT)
    inner = b.conv(x, 16, POINT)
    assert MOST in early(b.graph(b.conv(x, 16, POINT), inner))


def test_late_words_of_tiles_and_of_windows() -> None:
    fields = dict.fromkeys(COMPUTE.positions, 0) | {
        "tiles": 3, "output_height": 10, "output_width": 30, "output_base": 1000, "output_tile_step": 1,
        "output_x_step": 3, "output_y_step": 90,
    }  # fmt: skip
    first = 300 - 64 - PIPELINE
    assert late_words(fields, SQUARE).tolist() == [1000 + 3 * pixel + 2 for pixel in range(first, 300)]
    fields |= {"pool": 1, "pool_height": 2, "pool_width": 2, "pool_rows": 5, "pool_columns": 15}
    fields |= {"output_y_step": 45}
    # Result 172 is in row 5, the second of the third row of windows.
    assert late_words(fields, SQUARE).tolist() == [1000 + 3 * window + 2 for window in range(30, 75)]


def test_the_interpreter_refuses_steps_that_are_too_early() -> None:
    b = Builder(4)
    x = b.conv(b.input(16, 12, 12), 48, POINT)
    graph = b.graph(b.conv(x, 16, POINT))
    (section,) = compile_network(graph, SQUARE).program.sections
    assert isinstance(section, NpuSection)
    place = HEADER.decode(section.image)["compute_offset"] + COMPUTE.size
    fields = COMPUTE.decode(section.image[place : place + COMPUTE.size])
    image = bytearray(section.image)
    image[place : place + COMPUTE.size] = COMPUTE.encode({**fields, "early": fields["early"] + 1})
    spoiled = NpuSection(section.inputs, section.outputs, section.macs, section.arena_bytes, bytes(image))
    feeds = {name: np.asarray(value) for name, value in b.feeds().items()}
    with pytest.raises(DeviceError, match=r"^an early step reads what the descriptor before it may not have writ"):
        run_section(spoiled, feeds, Interpreter(SQUARE).run)
