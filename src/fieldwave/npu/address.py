"""im2col on the fly: the loop nest of a compute descriptor as a stream of word addresses.

The image is never expanded. Four nested loops walk the words that the array multiplies, in the order in which
weights arrive::

    for tile:                                  # output_lanes output channels
      for block:                               # up to block_pixels output pixels, consecutive, across rows
        for ky, kx, word of input channels:    # a step: one weight tile
          for pixel of the block:              # one vector a cycle

An address is a *pixel part* (where the window of this output pixel starts) plus a *tap part* (where the tap lies
in the window); both move by additions only, by amounts that the compiler put into the descriptor. Each pixel lane
has a pixel part of its own; all else they share.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration
from fieldwave.npu.lanes import begin, lane_start
from fieldwave.npu.pipeline import register

__all__ = ["ADDRESS_BITS", "AddressGenerator", "token_layout"]

ADDRESS_BITS = 24


def token_layout(configuration: Configuration) -> data.StructLayout:
    """One vector for each pixel lane on its way to the array."""
    lane = data.StructLayout(
        {
            "address": unsigned(ADDRESS_BITS),
            "padding": 1,  # outside the image: do not read, inject the pad value
            "present": 1,  # the lane has this pixel
            "tile_end": 1,  # its last pixel of the tile: parameters change after it
            "end": 1,  # its last pixel of the descriptor
        }
    )
    return data.StructLayout(
        {
            "lanes": data.ArrayLayout(lane, configuration.pixel_lanes),
            "pixel": range(configuration.block_pixels),  # place in the block
            "slice": range(max(2, configuration.slices)),  # part of the word, for pools
            "channel_word": unsigned(16),  # place of the word in its pixel, for the scale-shift
            "swap": 1,  # first vector of a step: weights change with it
            "first": 1,  # first step of the block: accumulators start anew
            "last": 1,  # last step of the block: the sum is complete
        }
    )


POSITION = data.StructLayout(
    {
        "line": unsigned(16),  # output row
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
        lanes = range(self.configuration.pixel_lanes)
        start, coming = begin(m, self.configuration, self.start)
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
        origin, here, after, block_start = ([Signal(POSITION, name=f"{name}_{lane}") for lane in lanes]
                                            for name in ("origin", "here", "after", "block_start"))  # fmt: skip
        for lane in lanes:
            self._pixel_part(m, lane, origin[lane], here[lane], after[lane])
        moved, stayed, anew = _set(here, after), _set(here, block_start), _set(here, origin)

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

        with m.If(start):
            m.d.sync += [running.eq(1), *anew, *_set(block_start, origin)]
            m.d.sync += [signal.eq(0) for signal in (pixel, word, kx, ky, block, tile, part, tap_y, tap_x)]
            m.d.sync += [signal.eq(compute.input_base) for signal in (base, tap_row, tap_column, tap)]
        with m.Elif(running & advance):
            m.d.sync += [pixel.eq(pixel + 1), *moved]
            with m.If(end_of_step):
                m.d.sync += [pixel.eq(0), *stayed, word.eq(word + 1), tap.eq(tap + 1)]
                with m.If(end_of_words):
                    m.d.sync += [word.eq(0), kx.eq(kx + 1), tap_x.eq(tap_x + compute.dilation_x)]
                    m.d.sync += [tap_column.eq(next_tap_column), tap.eq(next_tap_column)]
                with m.If(end_of_row):
                    m.d.sync += [kx.eq(0), tap_x.eq(0), ky.eq(ky + 1), tap_y.eq(tap_y + compute.dilation_y)]
                    m.d.sync += [signal.eq(next_tap_row) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_block):
                m.d.sync += [ky.eq(0), tap_y.eq(0), block.eq(block + 1), *moved, *_set(block_start, after)]
                m.d.sync += [signal.eq(base) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_tile):
                m.d.sync += [block.eq(0), tile.eq(tile + 1), *anew, *_set(block_start, origin)]
                m.d.sync += [part.eq(Mux(end_of_parts, 0, part + 1))]
                m.d.sync += [signal.eq(next_base) for signal in (base, tap_row, tap_column, tap)]
                m.d.sync += running.eq(tile != compute.tiles - 1)

        # Second stage: the sums. Third stage: the comparison with the image's edges.
        summed, token = Signal(token_layout(self.configuration)), Signal(token_layout(self.configuration))
        summed_valid, token_valid = Signal(), Signal()
        with m.If(advance):
            m.d.sync += [
                summed_valid.eq(running),
                summed.pixel.eq(pixel),
                summed.slice.eq(part),
                summed.channel_word.eq(base - compute.input_base + word),
                summed.swap.eq(pixel == 0),
                summed.first.eq(Cat(word, kx, ky) == 0),
                summed.last.eq(last_step),
                token_valid.eq(summed_valid),
                token.eq(summed),
            ]
            for lane in lanes:
                y, x = Signal(signed(18), name=f"y_{lane}"), Signal(signed(18), name=f"x_{lane}")
                place, ends = here[lane], end_of_tile
                if len(lanes) > 1:
                    last_pixel = (place.line == compute.output_height - 1) & (
                        place.column == compute.output_width - 1
                    )
                    ends = end_of_tile | (last_step & last_pixel)
                m.d.sync += [
                    y.eq(place.y + tap_y),
                    x.eq(place.x + tap_x),
                    summed.lanes[lane].address.eq(place.address + tap),
                    summed.lanes[lane].present.eq(place.line < compute.output_height if len(lanes) > 1 else 1),
                    summed.lanes[lane].tile_end.eq(ends),
                    summed.lanes[lane].end.eq(ends & (tile == compute.tiles - 1)),
                    token.lanes[lane].padding.eq(
                        (y < 0) | (y >= compute.input_height) | (x < 0) | (x >= compute.input_width)
                    ),
                ]
        m.d.comb += [
            advance.eq(~token_valid | self.tokens.ready),
            self.tokens.valid.eq(token_valid),
            self.tokens.payload.eq(token),
            self.busy.eq(coming | running | summed_valid | token_valid),
        ]
        return m

    def _pixel_part(self, m: Module, lane: int, origin: Any, here: Any, after: Any) -> None:
        """Where a lane starts, and where it goes from ``here``."""
        compute = self.compute
        first = lane_start(m, compute, lane, x_step=compute.input_x_step, y_step=compute.input_y_step)
        y: Any = compute.start_y
        x: Any = compute.start_x
        if lane:
            y = register(m, compute.start_y + first.line * compute.stride_y)
            x = register(m, compute.start_x + first.column * compute.stride_x)
        next_row = Signal(ADDRESS_BITS, name=f"next_row_{lane}")
        m.d.comb += [
            origin.line.eq(first.line),
            origin.column.eq(first.column),
            origin.y.eq(y),
            origin.x.eq(x),
            origin.row.eq(first.row),
            origin.address.eq(first.offset),
            next_row.eq(here.row + compute.input_y_step),
        ]
        with m.If(here.column == compute.output_width - 1):
            m.d.comb += [
                after.line.eq(here.line + 1),
                after.column.eq(0),
                after.y.eq(here.y + compute.stride_y),
                after.x.eq(compute.start_x),
                after.row.eq(next_row),
                after.address.eq(next_row),
            ]
        with m.Else():
            m.d.comb += [
                after.line.eq(here.line),
                after.column.eq(here.column + 1),
                after.y.eq(here.y),
                after.x.eq(here.x + compute.stride_x),
                after.row.eq(here.row),
                after.address.eq(here.address + compute.input_x_step),
            ]


def _set(positions: list[Any], sources: list[Any]) -> list[Any]:
    return [position.eq(source) for position, source in zip(positions, sources, strict=True)]
