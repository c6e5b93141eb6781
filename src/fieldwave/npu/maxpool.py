"""A max pool on the way to memory: a convolution's results become maxima over windows, and are never stored.

The columns of a window come one after the other, so their maximum is kept in registers (`Columns`). Its rows are
a row of results apart: their maximum is kept in the pooled tensor, in its bank. The first row of a window is
written, those after it are combined with what was read through the residual's port (`Rows`). Bounds and tables
come before the maximum; a clamp commutes with it. Padding never wins, since it is not there.
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.activations import write_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.pipeline import RegisterSlice
from fieldwave.npu.walk import place_layout

__all__ = ["Columns", "Rows"]


class Columns(wiring.Component):
    """From results to the maxima of each window's columns; without a pool, results pass as they are.

    Members:
        start, compute: begin; the descriptor is stable until the last vector has left.
        input: results, row by row.
        output: one vector per window and row of results.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.lanes = configuration.output_lanes
        vector = stream.Signature(data.ArrayLayout(signed(8), self.lanes))
        super().__init__(
            {"start": In(1), "compute": In(isa.COMPUTE.layout()), "input": In(vector), "output": Out(vector)}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        compute = self.compute
        m.submodules.last = last = RegisterSlice(self.output.payload.shape())
        wiring.connect(m, last.output, wiring.flipped(self.output))
        held = Signal(self.output.payload.shape(), reset_less=True)  # largest of the window so far
        begun, column, place_in_window = Signal(), Signal(16), Signal(8)
        end_of_window, end_of_row, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            end_of_window.eq(~compute.pool | (place_in_window == compute.pool_width - 1)),
            end_of_row.eq(column == compute.output_width - 1),
            last.input.valid.eq(self.input.valid & (end_of_window | end_of_row)),
            self.input.ready.eq(last.input.ready),
            taken.eq(self.input.valid & self.input.ready),
        ]
        for lane, value in enumerate(self.input.payload):
            m.d.comb += last.input.payload[lane].eq(Mux(begun & (held[lane] > value), held[lane], value))
        with m.If(taken & compute.pool):
            # A window that ends gives its last column to the next one where they overlap.
            m.d.sync += [
                held.eq(Mux(end_of_window, self.input.payload.as_value(), last.input.payload.as_value())),
                begun.eq(~end_of_window | compute.pool_overlap_x),
                place_in_window.eq(Mux(end_of_window, compute.pool_overlap_x, place_in_window + 1)),
                column.eq(column + 1),
            ]
        with m.If(self.start | (taken & end_of_row)):
            m.d.sync += [begun.eq(0), column.eq(0), place_in_window.eq(compute.pool_start_x)]
        return m


class Rows(wiring.Component):
    """Writes vectors to their places: as they are, or the larger of them and what an earlier row has left there.

    Members:
        bank: where to.
        vectors, places: what is written, and where.
        earlier: what is at the places that continue.
        write: to activation memory.
        written, done: a vector is at its place, or at both; it was the last.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        vector = stream.Signature(data.ArrayLayout(signed(8), configuration.output_lanes))
        super().__init__(
            {
                "bank": In(1),
                "vectors": In(vector),
                "places": In(stream.Signature(place_layout(configuration))),
                "earlier": In(vector),
                "write": Out(stream.Signature(write_layout(configuration))),
                "written": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        place, result = self.places.payload, Signal(self.vectors.payload.shape())
        second = Signal()  # the vector has reached its own window and goes to the one below
        for lane, value in enumerate(self.vectors.payload):
            held = self.earlier.payload[lane]
            m.d.comb += result[lane].eq(Mux(place.continues & ~second & (held > value), held, value))
        m.d.comb += [
            self.write.valid.eq(
                self.vectors.valid & self.places.valid & (self.earlier.valid | second | ~place.continues)
            ),
            self.write.payload.bank.eq(self.bank),
            self.write.payload.address.eq(Mux(second, place.below, place.address)),
            self.write.payload.word.eq(result.as_value().replicate(self.configuration.slices)),
            self.write.payload.mask.eq(1 << place.slice),
            self.written.eq(self.write.valid & self.write.ready & (second | ~place.both)),
            self.vectors.ready.eq(self.written),
            self.places.ready.eq(self.written),
            self.earlier.ready.eq(self.write.valid & self.write.ready & place.continues & ~second),
            self.done.eq(self.written & place.last),
        ]
        with m.If(self.write.valid & self.write.ready):
            m.d.sync += second.eq(place.both & ~second)
        return m
