"""The weight stream: memory -> ring -> shadow weights of the array, and the parameters that travel with it.

The compiler lays everything that is used once per image out in the order of use, so there is nothing to schedule:
a reader keeps the ring full, whatever descriptor is running, and a loader takes from it::

    table                              # LOOKUP: 256 bytes
    for tile:
      parameters                       # CONV, SUM: one record per output channel
      for block:                       # weights stay in the ring and are read again for every block
        for step: tile of weights      # CONV: output_lanes x input_lanes bytes

The ring is freed as the last block reads it. A tile of output channels whose weights exceed the ring is *repeated*
in the stream, once per block, and freed at once.

The handshake with the array happens when a step's first vector is *issued*, before it has been read from
activation memory; the weights' way to the array is one cycle shorter than the vector's. So ``tile_ready`` rises in
the cycle in which the last beat leaves the ring, the next tile may leave in the cycle after ``tile_take``, and a
step takes exactly max(pixels, beats of a tile) cycles.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.bursts import Bursts, burst_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["WEIGHT_LATENCY", "WeightStream", "parameters_layout"]

WEIGHT_LATENCY = 2
"""Cycles from the ring's address to ``load``: the memory and the register behind it."""


def parameters_layout(configuration: Configuration) -> data.ArrayLayout:
    """One parameter record per output lane."""
    return data.ArrayLayout(isa.PARAMETER.layout(), configuration.output_lanes)


class WeightStream(wiring.Component):
    """Reader, ring and loader.

    Members:
        stream_start, stream_offset, stream_beats: begin to read a program's stream.
        bursts, beat, beat_valid: to and from memory.
        start, compute: begin to load for a descriptor; ``busy`` until all of it has left the ring.
        load, load_index, load_beat: into the array's shadow weights.
        tile_ready, tile_take: the handshake described above.
        parameters: the next tile's parameters.
        table_write, table_index: ``load_beat`` is a part of the lookup table.
        overflow: the ring is full and the loader needs more (a program error).
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "stream_start": In(1),
                "stream_offset": In(32),
                "stream_beats": In(32),
                "bursts": Out(stream.Signature(burst_layout(configuration))),
                "beat": In(configuration.port_bits),
                "beat_valid": In(1),
                "start": In(1),
                "compute": In(isa.COMPUTE.layout()),
                "busy": Out(1),
                "load": Out(1),
                "load_index": Out(range(configuration.tile_beats)),
                "load_beat": Out(configuration.port_bits),
                "tile_ready": Out(1),
                "tile_take": In(1),
                "parameters": Out(stream.Signature(parameters_layout(configuration))),
                "table_write": Out(1),
                "table_index": Out(range(max(2, isa.TABLE_BYTES // configuration.port_bytes))),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration, compute = self.configuration, self.compute
        depth = configuration.ring_beats
        m.submodules.ring = ring = memory.Memory(shape=configuration.port_bits, depth=depth, init=[])
        ring_write, ring_read = ring.write_port(), ring.read_port()

        # Pointers count beats and keep one bit more than an address, so that full and empty differ.
        reserved, written, read, freed, tile_start = (Signal(range(2 * depth)) for _ in range(5))

        m.submodules.reader = reader = Bursts(configuration)
        room = Signal()
        m.d.comb += [
            reader.start.eq(self.stream_start),
            reader.offset.eq(self.stream_offset),
            reader.rows.eq(1),
            reader.row_beats.eq(self.stream_beats),
            room.eq((reserved - freed)[: len(reserved)] <= depth - configuration.burst_beats),
            self.bursts.payload.eq(reader.bursts.payload),
            self.bursts.valid.eq(reader.bursts.valid & room),
            reader.bursts.ready.eq(self.bursts.ready & room),
            ring_write.addr.eq(written),
            ring_write.data.eq(self.beat),
            ring_write.en.eq(self.beat_valid),
        ]
        with m.If(self.bursts.valid & self.bursts.ready):
            m.d.sync += reserved.eq(reserved + self.bursts.payload.beats)
        with m.If(self.beat_valid):
            m.d.sync += written.eq(written + 1)

        # The loader: which beat leaves the ring in this cycle, and what it is.
        leave_table, leave_parameters, leave_weights = Signal(), Signal(), Signal()
        available = Signal()
        index = Signal(range(max(configuration.tile_beats, configuration.parameter_beats, isa.TABLE_BYTES)))
        step, block, tile = Signal(16), Signal(16), Signal(16)
        waiting, slot_taken = Signal(), Signal()  # a complete tile, complete parameters: not fetched yet
        has_weights = compute.opcode == Opcode.CONV
        has_parameters = has_weights | (compute.opcode == Opcode.SUM)
        last_block = block == compute.blocks - 1
        leaving = Signal()
        m.d.comb += [
            available.eq(read != written),
            leaving.eq(leave_table | leave_parameters | leave_weights),
            ring_read.addr.eq(read),
            ring_read.en.eq(leaving),
        ]
        with m.If(leaving):
            m.d.sync += [read.eq(read + 1), index.eq(index + 1)]

        last_of_tile = Signal()
        m.d.comb += last_of_tile.eq(leave_weights & (index == configuration.tile_beats - 1))
        m.d.comb += self.tile_ready.eq(waiting | last_of_tile)
        with m.If(self.tile_take):
            m.d.sync += waiting.eq(0)
        with m.Elif(last_of_tile):
            m.d.sync += waiting.eq(1)

        with m.FSM() as loader:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [tile.eq(0), block.eq(0), step.eq(0), index.eq(0)]
                with m.If(compute.lookup):
                    m.next = "TABLE"
                with m.Elif(has_parameters):
                    m.next = "PARAMETERS"
            with m.State("TABLE"):
                m.d.comb += leave_table.eq(available)
                with m.If(available & (index == isa.TABLE_BYTES // configuration.port_bytes - 1)):
                    m.d.sync += index.eq(0)
                    m.next = "TABLE END"
            with m.State("TABLE END"):
                m.d.sync += freed.eq(read)
                m.next = "IDLE"
                with m.If(has_parameters):
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += leave_parameters.eq(available & ~slot_taken)
                with m.If(leave_parameters & (index == configuration.parameter_beats - 1)):
                    m.d.sync += [index.eq(0), slot_taken.eq(1)]
                    m.next = "PARAMETERS END"
            with m.State("PARAMETERS END"):
                m.d.sync += [freed.eq(read), tile_start.eq(read)]
                with m.If(has_weights):
                    m.next = "WEIGHTS"
                with m.Else():
                    m.d.sync += tile.eq(tile + 1)
                    m.next = "PARAMETERS"
                    with m.If(tile == compute.tiles - 1):
                        m.next = "IDLE"
            with m.State("WEIGHTS"):
                m.d.comb += leave_weights.eq(available & ~waiting)
                with m.If(leave_weights & (last_block | compute.repeat)):
                    m.d.sync += freed.eq(read + 1)
                with m.If(last_of_tile):
                    m.d.sync += [index.eq(0), step.eq(step + 1)]
                    with m.If(step == compute.steps - 1):
                        m.d.sync += [step.eq(0), block.eq(block + 1)]
                        with m.If(~compute.repeat):
                            m.d.sync += read.eq(tile_start)
                        with m.If(last_block):
                            m.d.sync += [read.eq(read + 1), block.eq(0), tile.eq(tile + 1)]
                            m.next = "PARAMETERS"
                            with m.If(tile == compute.tiles - 1):
                                m.next = "IDLE"
        m.d.comb += self.busy.eq(~loader.ongoing("IDLE"))

        # One cycle for the memory, one for the register behind it: then the beat arrives with its label.
        label_layout = data.StructLayout({"table": 1, "parameters": 1, "weights": 1, "index": index.shape()})
        label_1, label_2 = Signal(label_layout), Signal(label_layout)
        m.d.sync += [
            label_1.table.eq(leave_table),
            label_1.parameters.eq(leave_parameters),
            label_1.weights.eq(leave_weights),
            label_1.index.eq(index),
            label_2.eq(label_1),
            self.load_beat.eq(ring_read.data),
        ]
        m.d.comb += [
            self.load.eq(label_2.weights),
            self.load_index.eq(label_2.index),
            self.table_write.eq(label_2.table),
            self.table_index.eq(label_2.index),
        ]

        slot = [Signal(configuration.port_bits, name=f"slot_{i}") for i in range(configuration.parameter_beats)]
        slot_valid = Signal()
        for place, beat in enumerate(slot):
            with m.If(label_2.parameters & (label_2.index == place)):
                m.d.sync += beat.eq(self.load_beat)
        with m.If(label_2.parameters & (label_2.index == configuration.parameter_beats - 1)):
            m.d.sync += slot_valid.eq(1)
        with m.If(self.parameters.valid & self.parameters.ready):
            m.d.sync += [slot_valid.eq(0), slot_taken.eq(0)]
        m.d.comb += [self.parameters.valid.eq(slot_valid), self.parameters.payload.eq(Cat(slot))]

        starved = Signal(4)  # a few cycles, so that beats on their way from memory count
        stuck = self.busy & ~available & ~room & (written == reserved) & ~loader.ongoing("IDLE")
        m.d.sync += starved.eq(Mux(stuck, starved + ~starved.all(), 0))
        m.d.comb += self.overflow.eq(starved.all())
        return m
