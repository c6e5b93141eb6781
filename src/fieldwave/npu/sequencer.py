"""What both queues of descriptors have in common, the transfer queue, and which descriptors are legal.

A queue reads one descriptor ahead of the one that runs, so that fetching costs no time. A descriptor starts when
its unit is free and the other queue has completed as many descriptors as it waits for.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.bursts import burst_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Queue", "RecordFetch", "compute_is_legal", "transfer_is_legal"]


class RecordFetch(wiring.Component):
    """Reads one record of the program.

    Members:
        start, offset: read the record at this offset; ``valid`` falls until it is there.
        burst, beat, beat_valid: to and from memory.
        record, valid: what was read.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "offset": In(32),
                "burst": Out(stream.Signature(burst_layout(configuration))),
                "beat": In(configuration.port_bits),
                "beat_valid": In(1),
                "record": Out(isa.RECORD_BYTES * 8),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        beats, longest = self.configuration.record_beats, self.configuration.burst_beats
        offset = Signal(32, reset_less=True)
        # A register for every beat: what nobody reads of a record costs nothing.
        parts = [Signal(self.configuration.port_bits, name=f"beat_{i}", reset_less=True) for i in range(beats)]
        to_ask, to_come = Signal(range(beats + 1)), Signal(range(beats + 1))
        size = min(beats, longest)
        m.d.comb += [
            self.burst.valid.eq(to_ask != 0),
            self.burst.payload.offset.eq(offset),
            self.burst.payload.beats.eq(size),
            self.record.eq(Cat(parts)),
        ]
        with m.If(self.start):
            m.d.sync += [to_ask.eq(beats), to_come.eq(beats), self.valid.eq(0), offset.eq(self.offset)]
        with m.Elif(self.burst.valid & self.burst.ready):
            m.d.sync += [to_ask.eq(to_ask - size), offset.eq(offset + size * self.configuration.port_bytes)]
        with m.If(self.beat_valid):
            m.d.sync += [to_come.eq(to_come - 1), self.valid.eq(to_come == 1)]
            for place, part in enumerate(parts):
                with m.If(to_come == beats - place):
                    m.d.sync += part.eq(self.beat)
        return m


class Queue(wiring.Component):
    """Runs the descriptors of one list, in order, up to END.

    Members:
        start, offset: begin with the descriptor at this offset.
        fetch_*: a :class:`RecordFetch`.
        others: descriptors that the other queue has completed.
        legal: the fetched ``record`` may run.
        halt: start nothing more.
        launch, launched, record: one pulse for the unit, its descriptor's number, and the descriptor, stable until
            ``done``.
        done: the unit has finished.
        completed, ended: descriptors finished; END was reached.
        illegal: the descriptor number ``completed`` is illegal.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "offset": In(32),
                "fetch_start": Out(1),
                "fetch_offset": Out(32),
                "fetch_record": In(isa.RECORD_BYTES * 8),
                "fetch_valid": In(1),
                "others": In(16),
                "legal": In(1),
                "halt": In(1),
                "launch": Out(1),
                "launched": Out(16),
                "record": Out(isa.RECORD_BYTES * 8),
                "done": In(1),
                "completed": Out(16),
                "ended": Out(1),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        record = Signal(isa.RECORD_BYTES * 8, reset_less=True)
        m.d.comb += self.record.eq(record)
        common = data.View(data.StructLayout({"opcode": 8, "other": 8, "wait": 16}), record[:32])
        stride = self.configuration.record_stride
        following = Signal(32)
        m.d.comb += self.launched.eq(self.completed)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.comb += [self.fetch_start.eq(1), self.fetch_offset.eq(self.offset)]
                m.d.sync += following.eq(self.offset + stride)
                m.next = "FETCH"
            with m.State("FETCH"), m.If(self.fetch_valid & ~self.halt):
                m.d.sync += record.eq(self.fetch_record)
                m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(common.opcode == Opcode.END):
                    m.next = "END"
                with m.Elif(self.legal):
                    m.d.comb += [self.fetch_start.eq(1), self.fetch_offset.eq(following)]
                    m.d.sync += following.eq(following + stride)
                    m.next = "WAIT"
                with m.Else():
                    m.next = "ILLEGAL"
            with m.State("WAIT"), m.If((self.others >= common.wait) & ~self.halt):
                m.d.comb += self.launch.eq(1)
                m.next = "RUN"
            with m.State("RUN"), m.If(self.done):
                m.d.sync += self.completed.eq(self.completed + 1)
                m.next = "FETCH"
            with m.State("END"):
                m.d.comb += self.ended.eq(self.others >= common.wait)
            with m.State("ILLEGAL"):
                m.d.comb += self.illegal.eq(1)
        return m


def compute_is_legal(configuration: Configuration, record: Any) -> Any:
    """Whether a compute descriptor can be run without hanging."""
    counts = [
        record.tiles, record.blocks, record.block_pixels, record.last_pixels, record.kernel_height,
        record.kernel_width, record.input_tiles, record.steps, record.output_width, record.output_height,
    ]  # fmt: skip
    known = [record.opcode == opcode for opcode in (Opcode.CONV, Opcode.MAX, Opcode.AVERAGE, Opcode.SUM)]
    banks = [record.input_bank, record.output_bank, record.residual_bank]
    pool_counts = [record.pool_height, record.pool_width, record.pool_rows, record.pool_columns]
    largest = configuration.block_pixels
    scale_beats = (
        configuration.prescale_words * configuration.input_lanes * isa.SCALE.size // configuration.port_bytes
    )
    return (
        Cat(known).any()
        & Cat(count != 0 for count in counts).all()
        & Cat(bank < 2 for bank in banks).all()
        & (record.block_pixels <= largest)
        & (record.last_pixels <= record.block_pixels)
        & (~record.lookup if not configuration.lookup else 1)
        & (~record.prescale if not configuration.prescale_words else 1)
        & (record.prescale_beats <= scale_beats)
        & ~(record.residual & record.opcode.matches(Opcode.MAX, Opcode.AVERAGE))
        & (~record.pool | (Cat(count != 0 for count in pool_counts).all() & ~record.residual))
        & (
            (record.lanes != 0) & (record.lanes <= configuration.pixel_lanes) & ~record.pool
            if configuration.pixel_lanes > 1
            else 1
        )
    )


def transfer_is_legal(configuration: Configuration, record: Any) -> Any:
    """Whether a transfer descriptor can be run without hanging."""
    low = configuration.port_bytes.bit_length() - 1
    return (
        ((record.opcode == Opcode.LOAD) | (record.opcode == Opcode.STORE))
        & (record.rows != 0)
        & (record.row_words != 0)
        & (record.bank < 2)
        & (record.bank_base[24:] == 0)
        & (record.bank_row_step[24:] == 0)
        & (record.memory_offset[:low] == 0)
        & (record.memory_row_step[:low] == 0)
    )
