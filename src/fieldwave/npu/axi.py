"""The memory port: an AXI4 master that any number of readers and one writer share.

Readers reserve room before they ask, so read data never waits and one reader cannot block another. All bursts
carry the same identifier; the answers come in order, and a short queue remembers who asked. ``drain`` ends
everything cleanly: bursts that the bus has seen are completed (write data without strobes), no new ones begin.
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.bursts import burst_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.pipeline import RegisterSlice

__all__ = ["Memory", "axi4"]

OUTSTANDING = 16
"""Bursts in flight in each direction; at 16 beats each that covers 256 cycles of latency."""


def axi4(port_bytes: int) -> wiring.Signature:
    """The signals of an AXI4 master with one identifier and INCR bursts (Arm IHI 0022)."""
    return wiring.Signature(
        {
            "awaddr": Out(64), "awlen": Out(8), "awsize": Out(3), "awburst": Out(2), "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(port_bytes * 8), "wstrb": Out(port_bytes), "wlast": Out(1), "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(64), "arlen": Out(8), "arsize": Out(3), "arburst": Out(2), "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(port_bytes * 8), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1),
        }
    )  # fmt: skip


class Memory(wiring.Component):
    """Bursts in, AXI4 out.

    Members:
        bus: the AXI4 port.
        base: address that offsets count from; stable while a burst is in flight.
        reads: a stream of bursts per reader; ``read_valid[i]`` marks a beat of ``read_beat`` as reader i's.
        write, write_data: bursts to write and their beats (data and strobe per byte).
        writing: a write burst has not been acknowledged yet.
        drain, idle: begin nothing; nothing is in flight.
        read_error, write_error, error_address: a burst was answered with an error (one pulse).
    """

    def __init__(self, configuration: Configuration, *, readers: int) -> None:
        self.configuration = configuration
        self.readers = readers
        beat = data.StructLayout(
            {"data": unsigned(configuration.port_bits), "strobe": unsigned(configuration.port_bytes)}
        )
        super().__init__(
            {
                "bus": Out(axi4(configuration.port_bytes)),
                "base": In(64),
                "reads": In(stream.Signature(burst_layout(configuration))).array(readers),
                "read_beat": Out(configuration.port_bits),
                "read_valid": Out(1).array(readers),
                "write": In(stream.Signature(burst_layout(configuration))),
                "write_data": In(stream.Signature(beat)),
                "writing": Out(1),
                "drain": In(1),
                "idle": Out(1),
                "read_error": Out(1),
                "write_error": Out(1),
                "error_address": Out(32),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus = self.bus
        size = self.configuration.port_bytes.bit_length() - 1
        m.d.comb += [bus.arsize.eq(size), bus.awsize.eq(size), bus.arburst.eq(1), bus.awburst.eq(1)]
        reading = self._read(m)
        writing = self._write(m)
        m.d.comb += [self.writing.eq(writing), self.idle.eq(~reading & ~writing)]
        return m

    def _read(self, m: Module) -> Any:
        """The read channels; returns whether a burst is in flight."""
        bus = self.bus
        owner_layout = data.StructLayout({"reader": range(max(2, self.readers)), "offset": 32})
        m.submodules.owners = owners = fifo.SyncFIFOBuffered(width=owner_layout.size, depth=OUTSTANDING)
        chosen = Signal(owner_layout)
        beats = Signal(range(self.configuration.burst_beats + 1))
        asked = Signal()
        turn = Signal(range(max(2, self.readers)))  # who asked last comes last
        offset, free = Signal(32), Signal()
        # The sum comes behind the register: in front of it is who asks.
        m.d.comb += bus.araddr.eq(self.base + offset)
        m.d.comb += free.eq(~bus.arvalid & owners.w_rdy & ~self.drain)  # not arready: no path from the bus into us
        with m.Switch(turn):
            for last in range(self.readers):
                with m.Case(last):
                    for step in range(
                        self.readers
                    ):  # later assignments win: nearest after `last` is assigned last
                        reader = (last - step) % self.readers
                        with m.If(self.reads[reader].valid):
                            m.d.comb += [asked.eq(1), chosen.reader.eq(reader)]
                            m.d.comb += chosen.offset.eq(self.reads[reader].payload.offset)
                            m.d.comb += beats.eq(self.reads[reader].payload.beats)
        for reader, port in enumerate(self.reads):
            m.d.comb += port.ready.eq(free & (chosen.reader == reader))
        m.d.comb += [owners.w_data.eq(chosen), owners.w_en.eq(free & asked)]
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(free & asked):
            m.d.sync += [
                turn.eq(chosen.reader),
                bus.arvalid.eq(1),
                offset.eq(chosen.offset),
                bus.arlen.eq(beats - 1),
            ]

        owner = data.View(owner_layout, owners.r_data)
        beat = bus.rvalid & bus.rready
        m.d.comb += [bus.rready.eq(owners.r_rdy), owners.r_en.eq(beat & bus.rlast)]
        m.d.sync += self.read_beat.eq(bus.rdata)
        for reader in range(self.readers):
            m.d.sync += self.read_valid[reader].eq(beat & (owner.reader == reader) & ~self.drain)
        m.d.sync += self.read_error.eq(beat & bus.rresp[1])
        with m.If(beat & bus.rresp[1]):
            m.d.sync += self.error_address.eq(owner.offset)
        return bus.arvalid | (owners.level != 0) | owners.r_rdy

    def _write(self, m: Module) -> Any:
        """The write channels; returns whether a burst is in flight."""
        bus = self.bus
        beats_left = Signal(range(self.configuration.burst_beats + 1))
        begin, end, offset = Signal(), Signal(), Signal(32)
        m.submodules.offsets = offsets = fifo.SyncFIFO(width=32, depth=OUTSTANDING)  # of unanswered bursts
        # A beat that the bus has seen must stay, so a drain cuts off the data between two beats.
        cut_off = Signal()
        m.d.sync += cut_off.eq(self.drain & (cut_off | ~bus.wvalid | bus.wready))
        beats = RegisterSlice(self.write_data.payload.shape())
        m.submodules.beats = ResetInserter(cut_off)(beats)
        wiring.connect(m, wiring.flipped(self.write_data), beats.input)
        beat = beats.output
        m.d.comb += [
            self.write.ready.eq(~bus.awvalid & (beats_left == 0) & offsets.w_rdy & ~self.drain),
            begin.eq(self.write.valid & self.write.ready),
            bus.awaddr.eq(self.base + offset),
            bus.bready.eq(1),
            end.eq(bus.bvalid),
            bus.wdata.eq(Mux(cut_off, 0, beat.payload.data)),
            bus.wstrb.eq(Mux(cut_off, 0, beat.payload.strobe)),
            bus.wvalid.eq((beats_left != 0) & (beat.valid | cut_off)),
            bus.wlast.eq(beats_left == 1),
            beat.ready.eq((beats_left != 0) & bus.wready),
        ]
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += beats_left.eq(beats_left - 1)
        with m.If(begin):
            m.d.sync += [
                bus.awvalid.eq(1),
                offset.eq(self.write.payload.offset),
                bus.awlen.eq(self.write.payload.beats - 1),
                beats_left.eq(self.write.payload.beats),
            ]
        m.d.comb += [offsets.w_data.eq(self.write.payload.offset), offsets.w_en.eq(begin), offsets.r_en.eq(end)]
        m.d.sync += self.write_error.eq(bus.bvalid & bus.bresp[1])
        with m.If(bus.bvalid & bus.bresp[1]):
            m.d.sync += self.error_address.eq(offsets.r_data)
        return bus.awvalid | (beats_left != 0) | offsets.r_rdy
