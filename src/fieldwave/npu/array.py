"""The heart: input_lanes x output_lanes multipliers that hold their weights and take a vector a cycle.

Every row computes the dot product of the vector with its weights. The next tile of weights is loaded, beat by
beat, into shadow registers while the current one works; ``swap`` makes it current in the cycle in which the first
vector of the next step enters, so changing weights costs no cycle.

Activations are int8 here (uint8 outside, less 128); what that adds to the sums is constant, and the compiler has
put it into the bias.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.config import Configuration

__all__ = ["MultiplierArray", "dot_bits"]

LEVELS_PER_REGISTER = 2


def dot_bits(configuration: Configuration) -> int:
    """Width of a dot product of int8 vectors of input_lanes."""
    return 15 + configuration.input_lanes.bit_length()


class MultiplierArray(wiring.Component):
    """The multipliers, their weights and their adder trees.

    Members:
        vector: int8 per input lane.
        swap: the shadow weights become current for this vector and those after it.
        load: write ``beat`` into the shadow weights at ``load_index``; a tile is weights[output][input], int8.
        dots: dot product per output lane, ``latency`` cycles after its vector.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        levels = configuration.input_lanes.bit_length() - 1
        self.latency = 2 + -(-levels // LEVELS_PER_REGISTER)
        super().__init__(
            {
                "vector": In(data.ArrayLayout(signed(8), configuration.input_lanes)),
                "swap": In(1),
                "load": In(1),
                "load_index": In(range(configuration.tile_beats)),
                "load_beat": In(configuration.port_bits),
                "dots": Out(data.ArrayLayout(signed(dot_bits(configuration)), configuration.output_lanes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        inputs, outputs = self.configuration.input_lanes, self.configuration.output_lanes

        shadow = [
            Signal(self.configuration.port_bits, name=f"shadow_{i}") for i in range(self.configuration.tile_beats)
        ]
        for index, beat in enumerate(shadow):
            with m.If(self.load & (self.load_index == index)):
                m.d.sync += beat.eq(self.load_beat)

        current = Signal(inputs * outputs * 8)
        weights = data.View(data.ArrayLayout(data.ArrayLayout(signed(8), inputs), outputs), current)
        with m.If(self.swap):
            m.d.sync += current.eq(Cat(shadow))

        operands = [Signal(signed(8), name=f"operand_{lane}") for lane in range(inputs)]
        for lane, operand in enumerate(operands):
            m.d.sync += operand.eq(self.vector[lane])

        for output in range(outputs):
            products = [Signal(signed(16), name=f"product_{output}_{lane}") for lane in range(inputs)]
            m.d.sync += [
                product.eq(operand * weights[output][lane])
                for lane, (product, operand) in enumerate(zip(products, operands, strict=True))
            ]
            m.d.comb += self.dots[output].eq(_sum(m, products, f"sum_{output}"))
        return m


def _sum(m: Module, values: list[Any], name: str) -> Any:
    """Adder tree with a register after every LEVELS_PER_REGISTER levels."""
    group = 1 << LEVELS_PER_REGISTER
    depth = 0
    while len(values) > 1:
        sums = []
        for start in range(0, len(values), group):
            total = sum(values[start + 1 : start + group], values[start])
            register = Signal(total.shape(), name=f"{name}_{depth}_{start // group}")
            m.d.sync += register.eq(total)
            sums.append(register)
        values, depth = sums, depth + 1
    return values[0]
