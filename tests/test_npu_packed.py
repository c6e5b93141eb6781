"""Two products in a multiplier: every pair with every factor, as logic and as a DSP48E2."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")

from amaranth import Const, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

import fieldwave.npu.emit
from fieldwave import golden
from fieldwave.compiler import NpuSection, compile_network
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.golden import Window
from fieldwave.npu import Configuration
from fieldwave.npu.packed import FIELD, TOGETHER, PackedProducts, Products, split
from tests.npu_verilate import verilate
from tests.programs import run_section
from tests.random_networks import Builder

SMALL = Configuration(8, 4, (8192, 8192), 2048, 8, 2, block_pixels=16, lookup=False)
MODEL = Path(fieldwave.npu.__file__).with_name("dsp48e2.v")
INPUT = data.StructLayout({"factor": signed(8), "first": signed(8), "second": signed(8)})
OUTPUT = data.StructLayout({"words_equal": 1, "first": signed(16), "second": signed(16)})


class Both(wiring.Component):
    """A pair and its factor in; two cycles later the products, and whether the DSP48E2 made the same word."""

    def __init__(self) -> None:
        super().__init__({"input": In(stream.Signature(INPUT)), "output": Out(stream.Signature(OUTPUT))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.twin = twin = PackedProducts()
        m.submodules.primitive = primitive = PackedProducts(primitive=True)
        valid = [self.input.valid, Signal(), Signal()]
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(valid)]
        m.d.comb += [self.input.ready.eq(1), self.output.valid.eq(valid[-1])]
        for unit in (twin, primitive):
            m.d.comb += [getattr(unit, name).eq(self.input.payload[name]) for name in INPUT.members]
            m.d.comb += unit.swap.eq(self.input.valid)
        first, second = split(primitive.word)
        m.d.comb += [
            self.output.payload.words_equal.eq(twin.word == primitive.word),
            self.output.payload.first.eq(first),
            self.output.payload.second.eq(second),
        ]
        return m


def test_every_pair_with_every_factor() -> None:
    """All 2**24: the DSP48E2's word is the twin's, and both products are right."""
    both = verilate(Both(), MODEL.read_text())
    every = np.arange(-128, 128, dtype=np.int8)
    for factor in np.split(every, 16):
        inputs = both.zeros("input", 16 * 256 * 256)
        grid = np.meshgrid(factor, every, every, indexing="ij")
        for name, values in zip(INPUT.members, grid, strict=True):
            inputs[name] = values.ravel()
        result = both.run({"input": inputs}, {"output": len(inputs)}, stalls=False)["output"]
        assert result["words_equal"].all()
        wide = inputs["factor"].astype(np.int16)
        np.testing.assert_array_equal(result["first"], wide * inputs["first"])
        np.testing.assert_array_equal(result["second"], wide * inputs["second"])


@pytest.mark.parametrize("count", [TOGETHER, TOGETHER + 1])
def test_so_many_words_may_be_added(count: int) -> None:
    """The worst case for the lower field, both products largest or both smallest; one more is too many."""
    held = []
    for product in ((-128) ** 2, -128 * 127):
        word = Const(count * product * (2**FIELD + 1), signed(48))
        sums = [Signal(signed(40)) for _ in range(2)]
        m = Module()
        m.d.comb += [sum_.eq(value) for sum_, value in zip(sums, split(word), strict=True)]
        held.append(_settled(m, sums) == [count * product] * 2)
    assert held == [count <= TOGETHER, True]


def _settled(m: Module, signals: list[Signal]) -> list[int]:
    values: list[int] = []

    async def read(ctx: Any) -> None:
        values.extend(ctx.get(signal) for signal in signals)

    simulator = Simulator(m)
    simulator.add_testbench(read)
    simulator.run()
    return values


@pytest.mark.slow
def test_a_whole_core_of_dsp48e2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Verilog of the Vivado flow, its primitives modelled: the same memory after the same cycles."""
    builder = Builder(3)
    first = builder.conv(builder.input(8, 6, 6), 24, Window((3, 3)))
    graph = builder.graph(builder.conv(first, 16, Window((1, 1))))
    tensors = golden.run(graph, builder.feeds())
    (section,) = compile_network(graph, SMALL).program.sections
    assert isinstance(section, NpuSection)
    plain = _run(section, SMALL, tensors)

    def emit(configuration: Configuration) -> str:
        text = emit_verilog(configuration, Products.DSP48E2) + MODEL.read_text()
        assert text.count("  packed_products ") == SMALL.multipliers // 2
        return text

    emit_verilog = fieldwave.npu.emit.emit_verilog
    monkeypatch.setattr(fieldwave.npu.emit, "emit_verilog", emit)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _run(section, SMALL, tensors) == plain


def _run(section: NpuSection, configuration: Configuration, tensors: Any) -> tuple[dict[str, bytes], Any]:
    with Simulation(configuration) as simulation:
        core = SimulatedCore(simulation, MemoryModel())
        outputs = run_section(section, tensors, core.execute)
        return {name: values.tobytes() for name, values in outputs.items()}, core.counters
