"""The order in which results leave: every pixel of a tile, row by row, tile after tile."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.address import ADDRESS_BITS
from fieldwave.npu.config import Configuration

__all__ = ["Walk", "place_layout"]


def place_layout(configuration: Configuration) -> data.StructLayout:
    """A slice of a word, and whether it is the last one."""
    return data.StructLayout(
        {"address": unsigned(ADDRESS_BITS), "slice": range(max(2, configuration.slices)), "last": 1}
    )


class Walk(wiring.Component):
    """Streams the places of a tensor in the order of results; the output and the residual each have one.

    Members:
        start: begin; the other inputs are stable until the last place has been taken.
        tiles, height, width: how many.
        base, x_step, y_step, tile_step: where, in words; a tile is a slice of a word.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "tiles": In(16),
                "height": In(16),
                "width": In(16),
                "base": In(ADDRESS_BITS),
                "x_step": In(ADDRESS_BITS),
                "y_step": In(ADDRESS_BITS),
                "tile_step": In(ADDRESS_BITS),
                "places": Out(stream.Signature(place_layout(configuration))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        x, y, tile = Signal(16), Signal(16), Signal(16)
        part = Signal(range(max(2, self.configuration.slices)))
        tile_base, row, address = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        next_row, next_base = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        running, end_of_row, end_of_tile = Signal(), Signal(), Signal()
        end_of_parts = part == self.configuration.slices - 1
        m.d.comb += [
            end_of_row.eq(x == self.width - 1),
            end_of_tile.eq(end_of_row & (y == self.height - 1)),
            next_row.eq(row + self.y_step),
            next_base.eq(tile_base + Mux(end_of_parts, self.tile_step, 0)),
            self.places.valid.eq(running),
            self.places.payload.address.eq(address),
            self.places.payload.slice.eq(part),
            self.places.payload.last.eq(end_of_tile & (tile == self.tiles - 1)),
        ]
        with m.If(self.start):
            m.d.sync += [running.eq(1), x.eq(0), y.eq(0), tile.eq(0), part.eq(0)]
            m.d.sync += [signal.eq(self.base) for signal in (tile_base, row, address)]
        with m.Elif(running & self.places.ready):
            m.d.sync += [x.eq(x + 1), address.eq(address + self.x_step)]
            with m.If(end_of_row):
                m.d.sync += [x.eq(0), y.eq(y + 1), row.eq(next_row), address.eq(next_row)]
            with m.If(end_of_tile):
                m.d.sync += [y.eq(0), tile.eq(tile + 1), part.eq(Mux(end_of_parts, 0, part + 1))]
                m.d.sync += [signal.eq(next_base) for signal in (tile_base, row, address)]
                m.d.sync += running.eq(~self.places.payload.last)
        return m
