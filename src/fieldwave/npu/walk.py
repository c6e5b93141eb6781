"""The order in which results leave: every pixel of a tile, row by row, tile after tile.

With a fused pool a place is a window, and several rows of results come to one row of windows: the first of them
writes it, those after it are combined with what is there. A row that two windows share has two places.
"""

from __future__ import annotations

from typing import Any

from amaranth import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.address import ADDRESS_BITS
from fieldwave.npu.config import Configuration
from fieldwave.npu.lanes import begin, lane_start
from fieldwave.npu.loops import Loop
from fieldwave.npu.pipeline import register

__all__ = ["Walk", "place_layout"]


def place_layout(configuration: Configuration) -> data.StructLayout:
    """Where a result goes.

    Attributes:
        address, slice: a slice of a word.
        continues: an earlier row of the same window has been there.
        both: the result also begins the window below, at ``below``.
        last: there is none after it.
    """
    return data.StructLayout(
        {
            "address": unsigned(ADDRESS_BITS),
            "slice": range(max(2, configuration.slices)),
            "continues": 1,
            "both": 1,
            "below": unsigned(ADDRESS_BITS),
            "last": 1,
        }
    )


class Walk(wiring.Component):
    """Streams the places of a tensor in the order of results; the output and the residual each have one.

    Parameters:
        lane: the pixel lane whose results these are.

    Members:
        start: begin; the other inputs are stable until the last place has been taken.
        compute: the descriptor: how many tiles and rows, and how rows fall into windows.
        base, x_step, y_step, tile_step: where, in words; a tile is a slice of a word.
    """

    def __init__(self, configuration: Configuration, lane: int = 0) -> None:
        self.configuration = configuration
        self.lane = lane
        super().__init__(
            {
                "start": In(1),
                "compute": In(isa.COMPUTE.layout()),
                "base": In(ADDRESS_BITS),
                "x_step": In(ADDRESS_BITS),
                "y_step": In(ADDRESS_BITS),
                "tile_step": In(ADDRESS_BITS),
                "places": Out(stream.Signature(place_layout(configuration))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        compute = self.compute
        x, y, tiles = Signal(16), Signal(16), Loop("tiles")
        at_right, at_bottom = Signal(), Signal()  # the last of a row, the last row
        part = Signal(range(max(2, self.configuration.slices)))
        tile_base, row, address = (Signal(ADDRESS_BITS, reset_less=True) for _ in range(3))
        next_row, next_base = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        running, end_of_window, end_of_tile = Signal(), Signal(), Signal()
        end_of_parts = part == self.configuration.slices - 1

        first = lane_start(m, compute, self.lane, x_step=self.x_step, y_step=self.y_step)
        start, _ = begin(m, self.configuration, self.start)
        several = self.configuration.pixel_lanes > 1
        pixels = Loop("pixels", 24)  # of the lane
        end_of_lane = pixels.last if several else Const(0, 1)

        # Without a pool every row of results is a row of windows.
        window_row, place_in_window, continues = Signal(16), Signal(8), Signal()
        width, overlap = Signal(16), Signal()
        # What is compared below, without a subtraction before it; where a lane starts is known later than this.
        before_right, before_bottom = register(m, width - 2), register(m, compute.output_height - 2)
        narrow = register(m, width == 1)
        right, bottom = register(m, width - 1), register(m, compute.output_height - 1)
        last_of_window, last_window_row = register(m, compute.pool_height - 1), register(m, compute.pool_rows - 1)
        m.d.comb += [
            width.eq(Mux(compute.pool, compute.pool_columns, compute.output_width)),
            overlap.eq(compute.pool & compute.pool_overlap_y),
            end_of_window.eq(~compute.pool | (place_in_window == last_of_window)),
            end_of_tile.eq((at_right & at_bottom) | end_of_lane),
            next_row.eq(row + self.y_step),
            next_base.eq(tile_base + Mux(end_of_parts, self.tile_step, 0)),
            self.places.valid.eq(running),
            self.places.payload.address.eq(address),
            self.places.payload.slice.eq(part),
            self.places.payload.continues.eq(continues),
            self.places.payload.both.eq(end_of_window & overlap & (window_row != last_window_row)),
            self.places.payload.below.eq(address + self.y_step),
            self.places.payload.last.eq(end_of_tile & tiles.last),
        ]
        restart = [
            x.eq(first.column),
            y.eq(first.line),
            at_right.eq(first.column == right if self.lane else width == 1),
            at_bottom.eq(first.line == bottom if self.lane else compute.output_height == 1),
            window_row.eq(0),
            place_in_window.eq(compute.pool_start_y),
            continues.eq(compute.pool & compute.pool_continues),
        ]
        if several:
            restart.append(pixels.begin(compute.lane_pixels, register(m, compute.lane_pixels == 1)))
        with m.If(start):
            m.d.sync += [running.eq(1), part.eq(compute.output_slice[: len(part)]), *restart]
            m.d.sync += tiles.begin(compute.tiles, compute.tiles == 1)
            m.d.sync += [tile_base.eq(self.base), row.eq(self.base + first.row)]
            m.d.sync += address.eq(self.base + first.offset)
            if several:
                m.d.sync += running.eq(self.lane < compute.lanes)
        with m.Elif(running & self.places.ready):
            m.d.sync += [x.eq(x + 1), at_right.eq(x == before_right), address.eq(address + self.x_step)]
            if several:
                m.d.sync += pixels.next()
            with m.If(at_right):
                m.d.sync += [x.eq(0), at_right.eq(narrow), y.eq(y + 1), at_bottom.eq(y == before_bottom)]
                with m.If(end_of_window):
                    m.d.sync += [row.eq(next_row), address.eq(next_row), window_row.eq(window_row + 1)]
                    m.d.sync += [place_in_window.eq(overlap), continues.eq(overlap)]
                with m.Else():
                    m.d.sync += [address.eq(row), place_in_window.eq(place_in_window + 1), continues.eq(1)]
            with m.If(end_of_tile):
                m.d.sync += [tiles.next(), part.eq(Mux(end_of_parts, 0, part + 1)), *restart]
                m.d.sync += [tile_base.eq(next_base), row.eq(next_base + first.row)]
                m.d.sync += address.eq(next_base + first.offset)
                m.d.sync += running.eq(~self.places.payload.last)
        return m
