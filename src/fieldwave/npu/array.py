"""The heart: input_lanes x output_lanes multipliers that hold their weights and take a vector a cycle.

Every row computes the dot product of the vector with its weights. The next tile of weights is loaded, beat by
beat, into shadow registers while the current one works; ``swap`` makes it current in the cycle in which the first
vector of the next step enters, so changing weights costs no cycle.

Where the tool's target asks for it (``platform.products``), two outputs share a multiplier (``packed.py``), which
then also holds their weights; cycles and bits are the same.

Activations are int8 here (uint8 outside, less 128); what that adds to the sums is constant, and the compiler has
put it into the bias.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.config import Configuration
from fieldwave.npu.packed import Products, packed_products, split

__all__ = ["MultiplierArray", "array_latency", "dot_bits"]

LEVELS_PER_REGISTER = 2


def dot_bits(configuration: Configuration) -> int:
    """Width of a dot product of int8 vectors of input_lanes."""
    return 15 + configuration.input_lanes.bit_length()


def array_latency(configuration: Configuration) -> int:
    """Cycles from a vector to its dot products."""
    levels = configuration.input_lanes.bit_length() - 1
    return 2 + -(-levels // LEVELS_PER_REGISTER)


class MultiplierArray(wiring.Component):
    """The multipliers, their weights and their adder trees; all pixel lanes share the weights.

    Members:
        vectors: int8 per input lane, for each pixel lane.
        swap: the shadow weights become current for these vectors and those after them.
        load: write ``beat`` into the shadow weights at ``load_index``; a tile is weights[output][input], int8.
        dots: dot product per pixel lane and output lane, ``latency`` cycles after its vector.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.latency = array_latency(configuration)
        vector = data.ArrayLayout(signed(8), configuration.input_lanes)
        dots = data.ArrayLayout(signed(dot_bits(configuration)), configuration.output_lanes)
        super().__init__(
            {
                "vectors": In(data.ArrayLayout(vector, configuration.pixel_lanes)),
                "swap": In(1),
                "load": In(1),
                "load_index": In(range(configuration.tile_beats)),
                "load_beat": In(configuration.port_bits),
                "dots": Out(data.ArrayLayout(dots, configuration.pixel_lanes)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        inputs, outputs = self.configuration.input_lanes, self.configuration.output_lanes

        shadow = [
            Signal(self.configuration.port_bits, name=f"shadow_{i}", reset_less=True)
            for i in range(self.configuration.tile_beats)
        ]
        for index, beat in enumerate(shadow):
            with m.If(self.load & (self.load_index == index)):
                m.d.sync += beat.eq(self.load_beat)

        products = getattr(platform, "products", Products.PLAIN)
        if products != Products.PLAIN and outputs > 1:
            self._packed(m, Cat(shadow), instance=products == Products.DSP48E2)
            return m

        # A register for every weight: a simulator is slow at slices of a vector of thousands of bits. They have
        # a reset, which they do not need: without it the WebAssembly build of Yosys 0.70 fails on the core.
        weights = [_registers(8, inputs, f"weight_{output:03}", reset=True) for output in range(outputs)]
        with m.If(self.swap):
            m.d.sync += Cat(weights).eq(Cat(shadow))

        for lane in range(self.configuration.pixel_lanes):
            mark = f"lane_{lane}_" if self.configuration.pixel_lanes > 1 else ""
            operands = _registers(8, inputs, f"{mark}operand")
            m.d.sync += Cat(operands).eq(self.vectors[lane])
            for output in range(outputs):
                products = _registers(16, inputs, f"{mark}product_{output:03}")
                m.d.sync += [
                    product.eq(operand * weight)
                    for product, operand, weight in zip(products, operands, weights[output], strict=True)
                ]
                m.d.comb += self.dots[lane][output].eq(_sum(m, products, f"{mark}sum_{output:03}"))
        return m

    def _packed(self, m: Module, shadow: Any, *, instance: bool) -> None:
        """Products two by two: outputs ``output`` and ``output + 1`` of the same input."""
        inputs = self.configuration.input_lanes
        for lane in range(self.configuration.pixel_lanes):
            for output in range(0, self.configuration.output_lanes, 2):
                words = []
                for index in range(inputs):
                    first, second = (shadow.word_select(row * inputs + index, 8) for row in (output, output + 1))
                    name = f"pair_{lane}_{output:03}_{index:03}"
                    unit, word = packed_products(
                        first, second, self.swap, self.vectors[lane][index], name, instance
                    )
                    m.submodules[name] = unit
                    words.append(word)
                sums = _level(m, words, f"lane_{lane}_packed_{output:03}")
                for offset, values in enumerate(zip(*(split(word) for word in sums), strict=True)):
                    name = f"lane_{lane}_sum_{output + offset:03}"
                    m.d.comb += self.dots[lane][output + offset].eq(_sum(m, list(values), name))


def _registers(bits: int, count: int, name: str, *, reset: bool = False) -> list[Signal]:
    """Signed registers in a row. Numbers have leading zeros, so that tools that sort by name keep the order: a
    compiler of simulated Verilog then finds neighbours, and works on many of them at once."""
    return [Signal(signed(bits), name=f"{name}_{index:03}", reset_less=not reset) for index in range(count)]


def _sum(m: Module, values: list[Any], name: str) -> Any:
    """Adder tree with a register after every LEVELS_PER_REGISTER levels."""
    depth = 0
    while len(values) > 1:
        values, depth = _level(m, values, f"{name}_{depth}"), depth + 1
    return values[0]


def _level(m: Module, values: list[Any], name: str) -> list[Any]:
    """What the tree does up to its next register.

    Values that are half of a level apart are added, not neighbours: so a level is one row added to another.
    """
    for _ in range(min(LEVELS_PER_REGISTER, len(values).bit_length() - 1)):
        half = len(values) // 2
        values = [first + second for first, second in zip(values[:half], values[half:], strict=True)]
    sums = _registers(values[0].shape().width, len(values), name)
    m.d.sync += [register.eq(value) for register, value in zip(sums, values, strict=True)]
    return sums
