"""Partial results of one block of pixels: read, combine with the new value, write back; or pass on when complete.

A block memory holds one int32 per pixel and output lane. The value of a pixel comes back once per step; with the
last step the result leaves and its place is free for the next block, so there is nothing to clear or to copy::

    cycle      0      1       2         3
    memory     read   data    register  write
    value                     combine   result
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.array import dot_bits
from fieldwave.npu.config import Configuration

__all__ = ["MINIMUM_STEP", "TAP_BITS", "Accumulators", "result_layout"]

MINIMUM_STEP = 4
"""Cycles between two values of one pixel: the loop above must have closed."""

TAP_BITS = 16


def result_layout(configuration: Configuration) -> data.StructLayout:
    """Complete results of one pixel; ``taps`` counts the values that were no padding, ``tile_end`` marks
    the last pixel of a tile, ``end`` that of a descriptor."""
    return data.StructLayout(
        {
            "lanes": data.ArrayLayout(signed(32), configuration.output_lanes),
            "taps": unsigned(TAP_BITS),
            "tile_end": 1,
            "end": 1,
        }
    )


class Accumulators(wiring.Component):
    """The block memory and the adders.

    Members:
        valid, pixel, first, last, padding, tile_end, end: what enters the array now.
        maximum: combine ``values`` by maximum instead of by sum.
        values: one dot product per lane, ``value_latency`` cycles after its ``valid``; at least 2.
        result, result_valid: complete results; they cannot wait.
    """

    def __init__(self, configuration: Configuration, *, value_latency: int) -> None:
        self.configuration = configuration
        self.value_latency = value_latency
        super().__init__(
            {
                "valid": In(1),
                "pixel": In(range(configuration.block_pixels)),
                "first": In(1),
                "last": In(1),
                "padding": In(1),
                "tile_end": In(1),
                "end": In(1),
                "maximum": In(1),
                "values": In(data.ArrayLayout(signed(dot_bits(configuration)), configuration.output_lanes)),
                "result": Out(result_layout(configuration)),
                "result_valid": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        layout = result_layout(self.configuration)
        m.submodules.partial = store = memory.Memory(
            shape=unsigned(layout.size), depth=self.configuration.block_pixels, init=[]
        )
        read, write = store.read_port(), store.write_port()

        control_layout = data.StructLayout(
            {
                "valid": 1,
                "pixel": range(self.configuration.block_pixels),
                "first": 1,
                "last": 1,
                "padding": 1,
                "tile_end": 1,
                "end": 1,
            }
        )
        entering = Signal(control_layout)
        m.d.comb += [entering[name].eq(getattr(self, name)) for name in control_layout.members]
        controls = [entering]
        for cycle in range(self.value_latency):
            controls.append(Signal(control_layout, name=f"control_{cycle + 1}"))
            m.d.sync += controls[-1].eq(controls[-2])
        reading, combining = controls[-3], controls[-1]

        partial, combined = Signal(layout, reset_less=True), Signal(layout, reset_less=True)
        m.d.comb += [read.addr.eq(reading.pixel), read.en.eq(reading.valid)]
        m.d.sync += partial.eq(read.data)

        for lane in range(self.configuration.output_lanes):
            value, held = self.values[lane], partial.lanes[lane]
            larger = Mux(value > held, value, held)
            m.d.sync += combined.lanes[lane].eq(
                Mux(combining.first, value, Mux(self.maximum, larger, held + value))
            )
        m.d.sync += [combined.tile_end.eq(combining.tile_end), combined.end.eq(combining.end)]
        m.d.sync += combined.taps.eq(Mux(combining.first, 0, partial.taps) + ~combining.padding)

        writing = Signal(control_layout)
        m.d.sync += writing.eq(combining)
        m.d.comb += [
            write.addr.eq(writing.pixel),
            write.data.eq(combined),
            write.en.eq(writing.valid & ~writing.last),
            self.result.eq(combined),
            self.result_valid.eq(writing.valid & writing.last),
        ]
        return m
