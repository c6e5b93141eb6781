"""im2col on the fly: the loop nest of a compute descriptor as a stream of word addresses.

The image is never expanded. Four nested loops walk the words that the array multiplies, in the order in which
weights arrive::

    for tile:                                  # output_lanes output channels
      for block:                               # up to block_pixels output pixels, consecutive, across rows
        for ky, kx, word of input channels:    # a step: one weight tile
          for pixel of the block:              # one vector a cycle

An address is a *pixel part* (where the window of this output pixel starts) plus a *tap part* (where the tap lies
in the window); both move by additions only, by amounts that the compiler put into the descriptor.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration

__all__ = ["ADDRESS_BITS", "AddressGenerator", "token_layout"]

ADDRESS_BITS = 24


def token_layout(configuration: Configuration) -> data.StructLayout:
    """One vector on its way to the array."""
    return data.StructLayout(
        {
            "address": unsigned(ADDRESS_BITS),
            "padding": 1,  # outside the image: do not read, inject the pad value
            "pixel": range(configuration.block_pixels),  # place in the block
            "slice": range(max(2, configuration.slices)),  # part of the word, for pools
            "channel_word": unsigned(16),  # place of the word in its pixel, for the scale-shift
            "swap": 1,  # first vector of a step: weights change with it
            "first": 1,  # first step of the block: accumulators start anew
            "last": 1,  # last step of the block: the sum is complete
            "tile_end": 1,  # last pixel of the tile: parameters change after it
        }
    )


POSITION = data.StructLayout(
    {
        "column": unsigned(16),  # output column
        "y": signed(17),  # input row, padding counted
        "x": signed(17),  # input column
        "row": unsigned(ADDRESS_BITS),  # address at the output row's first pixel
        "address": unsigned(ADDRESS_BITS),
    }
)
"""Where the window of one output pixel starts."""


class AddressGenerator(wiring.Component):
    """Streams the tokens of one descriptor, one a cycle.

    Members:
        compute: the descriptor; stable from ``start`` until the last token has been taken.
        start: begin.
        tokens: the stream.
        busy: tokens are still to come.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "compute": In(isa.COMPUTE.layout()),
                "start": In(1),
                "tokens": Out(stream.Signature(token_layout(configuration))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        compute = self.compute
        running = Signal()
        advance = Signal()  # the three stages below move together

        # Loop counters, innermost first. Each ends when it reaches its count and everything inside it has ended.
        pixel, word, kx, ky = Signal(16), Signal(16), Signal(16), Signal(16)
        block, tile, part = Signal(16), Signal(16), Signal(range(max(2, self.configuration.slices)))
        pixels = Mux(block == compute.blocks - 1, compute.last_pixels, compute.block_pixels)
        end_of_step, end_of_words, end_of_row, end_of_block, end_of_tile = (Signal() for _ in range(5))
        last_step = Signal()
        m.d.comb += [
            end_of_step.eq(pixel == pixels - 1),
            end_of_words.eq(word == compute.input_tiles - 1),
            end_of_row.eq(end_of_words & (kx == compute.kernel_width - 1)),
            last_step.eq(end_of_row & (ky == compute.kernel_height - 1)),
            end_of_block.eq(end_of_step & last_step),
            end_of_tile.eq(end_of_block & (block == compute.blocks - 1)),
        ]

        # Pixel part.
        origin, here, after, block_start = Signal(POSITION), Signal(POSITION), Signal(POSITION), Signal(POSITION)
        next_row = Signal(ADDRESS_BITS)
        m.d.comb += [
            origin.y.eq(compute.start_y),
            origin.x.eq(compute.start_x),
            next_row.eq(here.row + compute.input_y_step),
        ]
        with m.If(here.column == compute.output_width - 1):
            m.d.comb += [
                after.column.eq(0),
                after.y.eq(here.y + compute.stride_y),
                after.x.eq(compute.start_x),
                after.row.eq(next_row),
                after.address.eq(next_row),
            ]
        with m.Else():
            m.d.comb += [
                after.column.eq(here.column + 1),
                after.y.eq(here.y),
                after.x.eq(here.x + compute.stride_x),
                after.row.eq(here.row),
                after.address.eq(here.address + compute.input_x_step),
            ]

        # Tap part; the addresses contain the base of the tile.
        tap_y, tap_x = Signal(16), Signal(16)
        base, tap_row, tap_column, tap = (Signal(ADDRESS_BITS) for _ in range(4))
        next_base = Signal(ADDRESS_BITS)
        next_tap_row, next_tap_column = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        end_of_parts = part == self.configuration.slices - 1
        m.d.comb += [
            next_base.eq(base + Mux(end_of_parts, compute.input_tile_step, 0)),
            next_tap_row.eq(tap_row + compute.tap_y_step),
            next_tap_column.eq(tap_column + compute.tap_x_step),
        ]

        with m.If(self.start):
            m.d.sync += [running.eq(1), here.eq(origin), block_start.eq(origin)]
            m.d.sync += [signal.eq(0) for signal in (pixel, word, kx, ky, block, tile, part, tap_y, tap_x)]
            m.d.sync += [signal.eq(compute.input_base) for signal in (base, tap_row, tap_column, tap)]
        with m.Elif(running & advance):
            m.d.sync += [pixel.eq(pixel + 1), here.eq(after)]
            with m.If(end_of_step):
                m.d.sync += [pixel.eq(0), here.eq(block_start), word.eq(word + 1), tap.eq(tap + 1)]
                with m.If(end_of_words):
                    m.d.sync += [word.eq(0), kx.eq(kx + 1), tap_x.eq(tap_x + compute.dilation_x)]
                    m.d.sync += [tap_column.eq(next_tap_column), tap.eq(next_tap_column)]
                with m.If(end_of_row):
                    m.d.sync += [kx.eq(0), tap_x.eq(0), ky.eq(ky + 1), tap_y.eq(tap_y + compute.dilation_y)]
                    m.d.sync += [signal.eq(next_tap_row) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_block):
                m.d.sync += [ky.eq(0), tap_y.eq(0), block.eq(block + 1), here.eq(after), block_start.eq(after)]
                m.d.sync += [signal.eq(base) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_tile):
                m.d.sync += [block.eq(0), tile.eq(tile + 1), here.eq(origin), block_start.eq(origin)]
                m.d.sync += [part.eq(Mux(end_of_parts, 0, part + 1))]
                m.d.sync += [signal.eq(next_base) for signal in (base, tap_row, tap_column, tap)]
                m.d.sync += running.eq(tile != compute.tiles - 1)

        # Second stage: the sums. Third stage: the comparison with the image's edges.
        summed, token = Signal(token_layout(self.configuration)), Signal(token_layout(self.configuration))
        y, x = Signal(signed(18)), Signal(signed(18))
        summed_valid, token_valid = Signal(), Signal()
        outside = (y < 0) | (y >= compute.input_height) | (x < 0) | (x >= compute.input_width)
        with m.If(advance):
            m.d.sync += [
                summed_valid.eq(running),
                y.eq(here.y + tap_y),
                x.eq(here.x + tap_x),
                summed.address.eq(here.address + tap),
                summed.pixel.eq(pixel),
                summed.slice.eq(part),
                summed.channel_word.eq(base - compute.input_base + word),
                summed.swap.eq(pixel == 0),
                summed.first.eq(Cat(word, kx, ky) == 0),
                summed.last.eq(last_step),
                summed.tile_end.eq(end_of_tile),
                token_valid.eq(summed_valid),
                token.eq(summed),
                token.padding.eq(outside),
            ]
        m.d.comb += [
            advance.eq(~token_valid | self.tokens.ready),
            self.tokens.valid.eq(token_valid),
            self.tokens.payload.eq(token),
            self.busy.eq(running | summed_valid | token_valid),
        ]
        return m
