"""LOAD and STORE: rows of words between memory and an activation bank.

Memory moves beats of port_bytes, banks move words of input_lanes bytes; a row starts at a beat, and what is left
of its last beat is skipped or not written. The top bit of every byte is inverted on the way: uint8 outside, int8
(less 128) inside.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.activations import READ_LATENCY, read_layout, write_layout
from fieldwave.npu.address import ADDRESS_BITS
from fieldwave.npu.bursts import Bursts, burst_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Opcode
from fieldwave.npu.loops import Loop, Room
from fieldwave.npu.pipeline import register

__all__ = ["LOAD_BURSTS", "Dma"]

LOAD_BURSTS = 8
"""Bursts of a LOAD in flight: half of what the memory port allows."""


class Dma(wiring.Component):
    """Runs one transfer descriptor at a time.

    Members:
        start, transfer: begin; the descriptor is stable until ``done``.
        done: one pulse, when the last word is in its bank or memory has acknowledged the last burst.
        load_bursts, beat, beat_valid: from memory; ``asking`` while a LOAD has more bursts to ask for.
        store_bursts, store_beat: to memory; ``writing`` while a burst is not acknowledged.
        read, word, writes: activation memory. With several pixel lanes each part of a bank takes a word in the
            same cycle, so a LOAD writes as many words of a beat at once.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        words_per_beat = max(1, configuration.port_bytes // configuration.input_lanes)
        self.writers = min(configuration.pixel_lanes, words_per_beat)
        beat = data.StructLayout({"data": configuration.port_bits, "strobe": configuration.port_bytes})
        super().__init__(
            {
                "start": In(1),
                "transfer": In(isa.TRANSFER.layout()),
                "done": Out(1),
                "asking": Out(1),
                "load_bursts": Out(stream.Signature(burst_layout(configuration))),
                "beat": In(configuration.port_bits),
                "beat_valid": In(1),
                "store_bursts": Out(stream.Signature(burst_layout(configuration))),
                "store_beat": Out(stream.Signature(beat)),
                "writing": In(1),
                "read": Out(stream.Signature(read_layout(configuration))),
                "word": In(configuration.input_lanes * 8),
                "writes": Out(stream.Signature(write_layout(configuration))).array(self.writers),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration, transfer = self.configuration, self.transfer
        loading, storing = Signal(), Signal()
        loaded, stored = Signal(), Signal()
        flushing = Signal()  # the last beat of a STORE has left

        m.submodules.bursts = bursts = Bursts(configuration)
        start_bursts = Signal()  # a cycle late: the size of a row is a sum
        row_beats = Signal(32)
        words_per_beat = max(1, configuration.port_bytes // configuration.input_lanes)
        beats_per_word = max(1, configuration.input_lanes // configuration.port_bytes)
        m.d.sync += [
            start_bursts.eq(self.start),
            row_beats.eq((transfer.row_words + (words_per_beat - 1)) // words_per_beat * beats_per_word),
        ]
        m.d.comb += [
            bursts.start.eq(start_bursts),
            bursts.offset.eq(transfer.memory_offset),
            bursts.rows.eq(transfer.rows),
            bursts.row_beats.eq(row_beats),
            bursts.row_step.eq(transfer.memory_row_step),
            self.load_bursts.payload.eq(bursts.bursts.payload),
            self.store_bursts.payload.eq(bursts.bursts.payload),
        ]
        with m.If(self.start):
            m.d.sync += [loading.eq(transfer.opcode == Opcode.LOAD), storing.eq(transfer.opcode == Opcode.STORE)]
        with m.If(self.done):
            m.d.sync += [loading.eq(0), storing.eq(0), flushing.eq(0)]
        with m.Elif(stored):
            m.d.sync += flushing.eq(1)
        m.d.comb += self.done.eq(loaded | (flushing & ~self.writing))

        # The words of both directions, row by row.
        m.submodules.rows = rows = _Rows(self.writers)
        m.d.comb += [rows.start.eq(self.start), rows.transfer.eq(transfer)]
        m.d.comb += rows.together.eq(Mux(loading, self.writers, 1))

        self._load(m, bursts, rows, loading, loaded)
        self._store(m, bursts, rows, storing, stored)
        return m

    def _load(self, m: Module, bursts: Bursts, rows: _Rows, loading: Any, loaded: Any) -> None:
        """Beats wait in a queue with room for every burst that was asked for, and leave as words."""
        configuration = self.configuration
        word_bits, port_bits = configuration.input_lanes * 8, configuration.port_bits
        depth = LOAD_BURSTS * configuration.burst_beats
        m.submodules.arrived = arrived = fifo.SyncFIFOBuffered(width=port_bits, depth=depth)
        room = Signal(range(depth + 1), init=depth)
        asked = Signal(range(configuration.burst_beats + 1))
        m.d.comb += [
            self.asking.eq(bursts.bursts.valid & loading),
            self.load_bursts.valid.eq(self.asking & (room >= configuration.burst_beats)),
            arrived.w_data.eq(self.beat),
            arrived.w_en.eq(self.beat_valid),
        ]
        with m.If(self.load_bursts.valid & self.load_bursts.ready):
            m.d.comb += [asked.eq(self.load_bursts.payload.beats), bursts.bursts.ready.eq(1)]
        m.d.sync += room.eq(room - asked + (arrived.r_en & arrived.r_rdy))

        word, word_valid = Signal(word_bits * self.writers), Signal()
        written = Signal()
        m.d.comb += written.eq(loading & word_valid & Cat(port.ready | ~port.valid for port in self.writes).all())
        if port_bits >= word_bits:
            count = port_bits // word_bits // self.writers
            place = Signal(range(max(2, count)))
            last_place = (place == count - 1) | rows.row_end
            m.d.comb += [
                word.eq(
                    arrived.r_data.word_select(place, word_bits * self.writers) if count > 1 else arrived.r_data
                ),
                word_valid.eq(arrived.r_rdy),
                arrived.r_en.eq(written & last_place),
            ]
            with m.If(written):
                m.d.sync += place.eq(Mux(last_place, 0, place + 1))
        else:
            count = word_bits // port_bits
            parts = Signal(word_bits)
            filled = Signal(range(count + 1))
            m.d.comb += [
                word.eq(parts),
                word_valid.eq(filled == count),
                arrived.r_en.eq(loading & ((filled != count) | written)),
            ]
            with m.If(arrived.r_en & arrived.r_rdy):
                m.d.sync += [parts.eq(Cat(parts, arrived.r_data)[port_bits:]), filled.eq(filled + 1)]
                with m.If(written):
                    m.d.sync += filled.eq(1)
            with m.Elif(written):
                m.d.sync += filled.eq(0)

        m.d.comb += loaded.eq(written & rows.last)
        for index, port in enumerate(self.writes):
            here = word.word_select(index, word_bits)
            m.d.comb += [
                port.valid.eq(loading & word_valid & (rows.words_left > index if index else 1)),
                port.payload.bank.eq(self.transfer.bank),
                port.payload.address.eq(rows.address + index),
                port.payload.word.eq(here ^ Const(0x80, 8).replicate(configuration.input_lanes)),
                port.payload.mask.eq(~0),
            ]
        with m.If(written):
            m.d.comb += rows.advance.eq(1)

    def _store(self, m: Module, bursts: Bursts, rows: _Rows, storing: Any, stored: Any) -> None:
        """Words wait in a short queue with room for every word that was asked for, and leave as beats."""
        configuration = self.configuration
        word_bits, port_bits = configuration.input_lanes * 8, configuration.port_bits
        depth = 8
        layout = data.StructLayout({"word": word_bits, "row_end": 1, "last": 1})
        m.submodules.leaving = leaving = fifo.SyncFIFO(width=layout.size, depth=depth)
        room = Room(depth, "room")
        asked, taken = Signal(), Signal()
        asking = Signal()  # words are still to be asked for
        m.d.sync += room.change(taken=asked, given=taken)
        m.d.comb += [
            self.read.valid.eq(storing & asking & room.some),
            self.read.payload.bank.eq(self.transfer.bank),
            self.read.payload.address.eq(rows.address),
            asked.eq(self.read.valid & self.read.ready),
            self.store_bursts.valid.eq(bursts.bursts.valid & storing),
        ]
        with m.If(self.start):
            m.d.sync += asking.eq(1)
        with m.If(asked):
            m.d.comb += rows.advance.eq(1)
            with m.If(rows.last):
                m.d.sync += asking.eq(0)
        with m.If(self.store_bursts.valid & self.store_bursts.ready):
            m.d.comb += bursts.bursts.ready.eq(1)

        labels = [Signal(3, name=f"label_{i}") for i in range(READ_LATENCY + 1)]
        m.d.comb += labels[0].eq(Cat(rows.row_end, rows.last, asked))
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(labels)]
        m.d.comb += [
            leaving.w_data.eq(
                Cat(self.word ^ Const(0x80, 8).replicate(configuration.input_lanes), labels[-1][:2])
            ),
            leaving.w_en.eq(labels[-1][2]),
        ]

        head = data.View(layout, leaving.r_data)
        count = max(1, port_bits // word_bits)
        parts = max(1, word_bits // port_bits)
        beat, strobe, beat_valid, beat_last = (
            Signal(port_bits),
            Signal(configuration.port_bytes),
            Signal(),
            Signal(),
        )
        sent = Signal()
        m.d.comb += [
            self.store_beat.payload.data.eq(beat),
            self.store_beat.payload.strobe.eq(strobe),
            self.store_beat.valid.eq(beat_valid),
            sent.eq(beat_valid & self.store_beat.ready),
            stored.eq(sent & beat_last),
        ]
        with m.If(sent):
            m.d.sync += [beat_valid.eq(0), strobe.eq(0)]
        free = ~beat_valid | self.store_beat.ready
        with m.If(leaving.r_rdy & free):
            if parts == 1:  # one beat holds whole words
                place = Signal(range(max(2, count)))
                m.d.sync += [
                    beat.word_select(place, word_bits).eq(head.word),
                    strobe.word_select(place, configuration.input_lanes).eq(~0),
                ]
                m.d.comb += taken.eq(1)
                m.d.sync += place.eq(place + 1)
                with m.If(head.row_end | (place == count - 1)):
                    m.d.sync += [place.eq(0), beat_valid.eq(1), beat_last.eq(head.last)]
            else:  # one word is several beats
                part = Signal(range(parts))
                m.d.sync += [
                    beat.eq(head.word.word_select(part, port_bits)),
                    strobe.eq(~0),
                    beat_valid.eq(1),
                    beat_last.eq(head.last & (part == parts - 1)),
                    part.eq(part + 1),
                ]
                m.d.comb += taken.eq(part == parts - 1)
        m.d.comb += leaving.r_en.eq(taken)


class _Rows(wiring.Component):
    """Bank addresses of a transfer, row by row; each is that of up to ``together`` words of ``words_left``.

    Parameters:
        most: bound of ``together``.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(
            {
                "start": In(1),
                "transfer": In(isa.TRANSFER.layout()),
                "together": In(4),
                "advance": In(1),
                "address": Out(ADDRESS_BITS),
                "words_left": Out(32),
                "row_end": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        row, rows = Signal(ADDRESS_BITS), Loop("rows", 32)
        next_row = Signal(ADDRESS_BITS)
        words, one_word = Loop("words", 32), register(m, self.transfer.row_words == 1)
        m.d.comb += [
            self.words_left.eq(words.left),
            self.row_end.eq(words.left <= self.together if self.most > 1 else words.last),
            next_row.eq(row + self.transfer.bank_row_step),
            self.last.eq(self.row_end & rows.last),
        ]
        with m.If(self.start):
            m.d.sync += [row.eq(self.transfer.bank_base), self.address.eq(self.transfer.bank_base)]
            m.d.sync += rows.begin(self.transfer.rows, self.transfer.rows == 1)
            m.d.sync += words.begin(self.transfer.row_words, self.transfer.row_words == 1)
        with m.Elif(self.advance):
            m.d.sync += self.address.eq(self.address + self.together)
            m.d.sync += words.left.eq(words.left - self.together) if self.most > 1 else words.next()
            with m.If(self.row_end):
                m.d.sync += [row.eq(next_row), self.address.eq(next_row)]
                m.d.sync += [words.begin(self.transfer.row_words, one_word), rows.next()]
        return m
