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

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration
from fieldwave.npu.lanes import begin, lane_start
from fieldwave.npu.loops import Loop
from fieldwave.npu.pipeline import RegisterSlice, register

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
        "edge": 1,  # it is the last one
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

        # The loops, innermost first. Each ends with its last round when everything inside it has ended.
        pixels, words, columns, rows = (Loop(name) for name in ("pixels", "words", "columns", "rows"))
        blocks, tiles = Loop("blocks"), Loop("tiles")
        end_of_step = pixels.last
        end_of_row, last_step, end_of_block, end_of_tile = (Signal() for _ in range(4))
        m.d.comb += [
            end_of_row.eq(words.last & columns.last),
            last_step.eq(words.last & columns.last & rows.last),
            end_of_block.eq(end_of_step & last_step),
            end_of_tile.eq(end_of_block & blocks.last),
        ]
        counts = [
            (words, compute.input_tiles), (columns, compute.kernel_width), (rows, compute.kernel_height),
            (blocks, compute.blocks), (tiles, compute.tiles),
        ]  # fmt: skip
        again = {loop: loop.begin(count, register(m, count == 1)) for loop, count in counts}
        # The last block may be a shorter one, so what the loop of pixels begins with depends on the block.
        before_last = Signal()  # the block after this one is the last
        one_block, two_blocks = register(m, compute.blocks == 1), register(m, compute.blocks == 2)
        every_one, last_one = register(m, compute.block_pixels == 1), register(m, compute.last_pixels == 1)
        comes_last = Mux(last_step, Mux(blocks.last, one_block, before_last), blocks.last)
        next_pixels = Mux(comes_last, compute.last_pixels, compute.block_pixels)
        again[pixels] = pixels.begin(next_pixels, Mux(comes_last, last_one, every_one))
        first_pixels = Mux(compute.blocks == 1, compute.last_pixels, compute.block_pixels)

        # Where in them a token is.
        pixel, word = Signal(range(self.configuration.block_pixels)), Signal(16)
        part = Signal(range(max(2, self.configuration.slices)))
        first_pixel, first_step = Signal(), Signal()

        # Pixel part.
        origin, here, after, block_start = (
            [Signal(POSITION, name=f"{name}_{lane}", reset_less=True) for lane in lanes]
            for name in ("origin", "here", "after", "block_start")
        )
        for lane in lanes:
            self._pixel_part(m, lane, origin[lane], here[lane], after[lane])
        moved, stayed, anew = _set(here, after), _set(here, block_start), _set(here, origin)

        # Tap part; the addresses contain the base of the tile.
        tap_y, tap_x = Signal(16), Signal(16)
        base, tap_row, tap_column, tap = (Signal(ADDRESS_BITS) for _ in range(4))
        next_base, channel_base = Signal(ADDRESS_BITS), Signal(16)  # the latter: less the first of all bases
        next_tap_row, next_tap_column = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        forward = Signal(ADDRESS_BITS)
        end_of_parts = part == self.configuration.slices - 1
        m.d.comb += [
            forward.eq(Mux(end_of_parts, compute.input_tile_step, 0)),
            next_base.eq(base + forward),
            next_tap_row.eq(tap_row + compute.tap_y_step),
            next_tap_column.eq(tap_column + compute.tap_x_step),
        ]

        with m.If(start):
            m.d.sync += [running.eq(1), *anew, *_set(block_start, origin)]
            m.d.sync += [loop.begin(count, count == 1) for loop, count in counts]
            m.d.sync += [pixels.begin(first_pixels, first_pixels == 1), before_last.eq(compute.blocks == 2)]
            m.d.sync += [signal.eq(0) for signal in (pixel, word, part, tap_y, tap_x, channel_base)]
            m.d.sync += [first_pixel.eq(1), first_step.eq(1)]
            m.d.sync += [signal.eq(compute.input_base) for signal in (base, tap_row, tap_column, tap)]
        with m.Elif(running & advance):
            m.d.sync += [pixels.next(), pixel.eq(pixel + 1), first_pixel.eq(0), *moved]
            with m.If(end_of_step):
                m.d.sync += [again[pixels], words.next()]
                m.d.sync += [pixel.eq(0), first_pixel.eq(1), first_step.eq(0)]
                m.d.sync += [*stayed, word.eq(word + 1), tap.eq(tap + 1)]
                with m.If(words.last):
                    m.d.sync += [again[words], columns.next(), word.eq(0)]
                    m.d.sync += [tap_x.eq(tap_x + compute.dilation_x)]
                    m.d.sync += [tap_column.eq(next_tap_column), tap.eq(next_tap_column)]
                with m.If(end_of_row):
                    m.d.sync += [again[columns], rows.next()]
                    m.d.sync += [tap_x.eq(0), tap_y.eq(tap_y + compute.dilation_y)]
                    m.d.sync += [signal.eq(next_tap_row) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_block):
                m.d.sync += [again[rows], blocks.next(), before_last.eq(blocks.left == 3)]
                m.d.sync += [tap_y.eq(0), first_step.eq(1), *moved, *_set(block_start, after)]
                m.d.sync += [signal.eq(base) for signal in (tap_row, tap_column, tap)]
            with m.If(end_of_tile):
                m.d.sync += [again[blocks], tiles.next(), before_last.eq(two_blocks)]
                m.d.sync += [*anew, *_set(block_start, origin)]
                m.d.sync += [part.eq(Mux(end_of_parts, 0, part + 1)), channel_base.eq(channel_base + forward)]
                m.d.sync += [signal.eq(next_base) for signal in (base, tap_row, tap_column, tap)]
                m.d.sync += running.eq(~tiles.last)

        # Second stage: the sums. Third stage: the comparison with the image's edges. Its register is a slice, so
        # that whether the loops move is told by a flip-flop, and not by all that a token may wait for.
        m.submodules.last = last = RegisterSlice(token_layout(self.configuration))
        summed, summed_valid, token = Signal(token_layout(self.configuration)), Signal(), last.input.payload
        m.d.comb += [
            advance.eq(last.input.ready),
            last.input.valid.eq(summed_valid),
            token.eq(summed),
            self.busy.eq(coming | running | summed_valid | last.output.valid),
        ]
        wiring.connect(m, last.output, wiring.flipped(self.tokens))
        bottom = register(m, compute.output_height - 1)
        with m.If(advance):
            m.d.sync += [
                summed_valid.eq(running),
                summed.pixel.eq(pixel),
                summed.slice.eq(part),
                summed.channel_word.eq(channel_base + word),
                summed.swap.eq(first_pixel),
                summed.first.eq(first_step),
                summed.last.eq(last_step),
            ]
        for lane in lanes:
            y, x = Signal(signed(18), name=f"y_{lane}"), Signal(signed(18), name=f"x_{lane}")
            place, ends = here[lane], end_of_tile
            if len(lanes) > 1:
                ends = end_of_tile | (last_step & place.edge & (place.line == bottom))
            with m.If(advance):
                m.d.sync += [
                    y.eq(place.y + tap_y),
                    x.eq(place.x + tap_x),
                    summed.lanes[lane].address.eq(place.address + tap),
                    summed.lanes[lane].present.eq(place.line < compute.output_height if len(lanes) > 1 else 1),
                    summed.lanes[lane].tile_end.eq(ends),
                    summed.lanes[lane].end.eq(ends & tiles.last),
                ]
            m.d.comb += token.lanes[lane].padding.eq(
                (y < 0) | (y >= compute.input_height) | (x < 0) | (x >= compute.input_width)
            )
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
        narrow, before_edge = register(m, compute.output_width == 1), register(m, compute.output_width - 2)
        right = register(m, compute.output_width - 1)
        m.d.comb += [
            origin.line.eq(first.line),
            origin.column.eq(first.column),
            origin.y.eq(y),
            origin.x.eq(x),
            origin.row.eq(first.row),
            origin.address.eq(first.offset),
            origin.edge.eq(first.column == right if lane else compute.output_width == 1),
            next_row.eq(here.row + compute.input_y_step),
        ]
        with m.If(here.edge):
            m.d.comb += [
                after.line.eq(here.line + 1),
                after.column.eq(0),
                after.edge.eq(narrow),
                after.y.eq(here.y + compute.stride_y),
                after.x.eq(compute.start_x),
                after.row.eq(next_row),
                after.address.eq(next_row),
            ]
        with m.Else():
            m.d.comb += [
                after.line.eq(here.line),
                after.column.eq(here.column + 1),
                after.edge.eq(here.column == before_edge),
                after.y.eq(here.y),
                after.x.eq(here.x + compute.stride_x),
                after.row.eq(here.row),
                after.address.eq(here.address + compute.input_x_step),
            ]


def _set(positions: list[Any], sources: list[Any]) -> list[Any]:
    return [position.eq(source) for position, source in zip(positions, sources, strict=True)]
