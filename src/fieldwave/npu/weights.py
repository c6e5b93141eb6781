"""The weight stream: memory -> ring -> shadow weights of the array, and the parameters that travel with it.

The compiler lays everything that is used once per image out in the order of use, so there is nothing to schedule:
a reader keeps the ring full, whatever descriptor is running, and a loader takes from it::

    table                              # lookup: 256 bytes
    scales                             # prescale: one record per input channel
    for tile:
      parameters                       # CONV, SUM: one record per output channel
      for block:                       # weights stay in the ring and are read again for every block
        for step: tile of weights      # CONV: output_lanes x input_lanes bytes

The ring is freed as the last block reads it. A tile of output channels whose weights exceed the ring is *repeated*
in the stream, once per block, and freed at once.

A stream no longer than the ring is never overwritten: after the run all of it is still there, from the first beat
on, and a run of the same program need not read it again.

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
from fieldwave.npu.loops import Loop
from fieldwave.npu.pipeline import register
from fieldwave.npu.prescale import prescale_latency

__all__ = ["WeightStream", "parameters_layout", "weight_latency"]

YIELDING_BURSTS = 4
"""Bursts of weights in flight while a LOAD asks for its own."""
RING_LATENCY = 3
"""Cycles from the ring's address to its beat: a register before the memory, the memory, a register behind it."""


def weight_latency(configuration: Configuration) -> int:
    """Cycles from the loader's decision to ``load``: long enough for the vector to be scaled meanwhile."""
    return RING_LATENCY + prescale_latency(configuration)


def parameters_layout(configuration: Configuration) -> data.ArrayLayout:
    """One parameter record per output lane."""
    return data.ArrayLayout(isa.PARAMETER.layout(), configuration.output_lanes)


class WeightStream(wiring.Component):
    """Reader, ring and loader.

    Members:
        stream_start, stream_offset, stream_beats: begin to read a program's stream; the latter two are stable.
        kept: with ``stream_start``: the ring still holds all of it, read nothing.
        complete: the ring holds the whole stream, and will when the program has ended.
        yielding: something else is urgent; have no more than YIELDING_BURSTS in flight.
        bursts, beat, beat_valid: to and from memory.
        start, compute: begin to load for a descriptor, stable while ``busy``: until all of it has left the ring.
        load, load_index, load_beat: into the array's shadow weights.
        tile_ready, tile_take: the handshake described above.
        parameters: the next tile's parameters.
        table_beat, scale_beat: ``load_beat`` is a part of the lookup table, of the scale-shift constants.
        preparing: one of them is not complete.
        overflow: the ring is full and the loader needs more (a program error).
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "stream_start": In(1),
                "stream_offset": In(32),
                "stream_beats": In(32),
                "kept": In(1),
                "complete": Out(1),
                "yielding": In(1),
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
                "table_beat": Out(1),
                "scale_beat": Out(1),
                "preparing": Out(1),
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
        reserved, written, read, freed, free, tile_start = (Signal(range(2 * depth)) for _ in range(6))

        m.submodules.reader = reader = Bursts(configuration)
        room, few, asking, asked = Signal(), Signal(), Signal(), Signal()
        # As they were a cycle ago, which does not count right after a burst.
        had_room, had_few, has_asked = Signal(), Signal(), Signal()
        m.d.comb += [
            reader.start.eq(self.stream_start & ~self.kept),
            reader.offset.eq(self.stream_offset),
            reader.rows.eq(1),
            reader.row_beats.eq(self.stream_beats),
            room.eq((reserved - free)[: len(reserved)] <= depth - configuration.burst_beats),
            few.eq((reserved - written)[: len(reserved)] < YIELDING_BURSTS * configuration.burst_beats),
            asking.eq(had_room & ~has_asked & (had_few | ~self.yielding)),
            asked.eq(self.bursts.valid & self.bursts.ready),
            self.bursts.payload.eq(reader.bursts.payload),
            self.bursts.valid.eq(reader.bursts.valid & asking),
            reader.bursts.ready.eq(self.bursts.ready & asking),
            ring_write.addr.eq(written),
            ring_write.data.eq(self.beat),
            ring_write.en.eq(self.beat_valid),
        ]
        m.d.sync += [had_room.eq(room), had_few.eq(few), has_asked.eq(asked)]
        with m.If(asked):
            m.d.sync += reserved.eq(reserved + self.bursts.payload.beats)
        with m.If(self.beat_valid):
            m.d.sync += written.eq(written + 1)
        with m.If(self.stream_start & self.kept):
            m.d.sync += [reserved.eq(self.stream_beats), written.eq(self.stream_beats)]
        m.d.comb += self.complete.eq((written == self.stream_beats) & (written <= depth))

        # The loader: which beat leaves the ring in this cycle, and what it is.
        leave_table, leave_scales, leave_parameters, leave_weights = (Signal() for _ in range(4))
        available, leaving = Signal(), Signal()
        index = Signal(16)
        steps, blocks, tiles = Loop("steps"), Loop("blocks"), Loop("tiles")
        one_step, one_block = register(m, compute.steps == 1), register(m, compute.blocks == 1)
        waiting, slot_taken = Signal(), Signal()  # a complete tile, complete parameters: not fetched yet
        rewinding, last_beat = Signal(), Signal()
        # From a beat's leaving the ring to its last entry's being written.
        scale_cycles = max(1, configuration.port_bytes // isa.SCALE.size // configuration.scales_at_once)
        written_after = configuration.port_bytes + weight_latency(configuration)
        scaled_after = scale_cycles + weight_latency(configuration)
        pace = Signal(range(written_after + 1))
        has_weights = compute.opcode == Opcode.CONV
        has_parameters = has_weights | (compute.opcode == Opcode.SUM)
        m.d.comb += leaving.eq(leave_table | leave_scales | leave_parameters | leave_weights)
        # Of the next cycle: nothing is compared behind what decides. Where the loader goes back there are beats.
        behind = Mux(leaving, (read + 1)[: len(read)] != written, read != written)
        m.d.sync += available.eq(behind | self.beat_valid | rewinding)
        with m.If(leaving):
            m.d.sync += [read.eq(read + 1), index.eq(index + 1)]
        with m.If(pace != 0):
            m.d.sync += pace.eq(pace - 1)

        last_of_tile = Signal()
        m.d.comb += last_of_tile.eq(leave_weights & last_beat)
        m.d.comb += self.tile_ready.eq(waiting | last_of_tile)
        with m.If(self.tile_take):
            m.d.sync += waiting.eq(0)
        with m.Elif(last_of_tile):
            m.d.sync += waiting.eq(1)

        with m.FSM() as loader:
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [index.eq(0), pace.eq(0)]
                m.d.sync += [
                    loop.begin(count, count == 1)
                    for loop, count in ((steps, compute.steps), (blocks, compute.blocks), (tiles, compute.tiles))
                ]
                with m.If(compute.lookup | compute.prescale):
                    m.next = "TABLE"
                with m.Elif(has_parameters):
                    m.next = "PARAMETERS"
            with m.State("TABLE"):
                with m.If(~compute.lookup | (index == configuration.table_beats)):
                    m.d.sync += index.eq(0)
                    m.next = "SCALES"
                with m.Elif(pace == 0):  # a beat is written byte by byte
                    m.d.comb += leave_table.eq(available)
                    with m.If(available):
                        m.d.sync += pace.eq(configuration.port_bytes - 1)
            with m.State("SCALES"):
                with m.If(~compute.prescale | (index == compute.prescale_beats)):
                    m.d.sync += [index.eq(0), freed.eq(read)]
                    m.d.sync += pace.eq(Mux(compute.lookup, written_after, scaled_after))
                    m.next = "WRITTEN"
                with m.Elif(pace == 0):  # and this as many records at once as a word has
                    m.d.comb += leave_scales.eq(available)
                    with m.If(available):
                        m.d.sync += pace.eq(scale_cycles - 1)
            with m.State("WRITTEN"), m.If(pace == 0):
                m.next = "IDLE"
                with m.If(has_parameters):
                    m.next = "PARAMETERS"
            with m.State("PARAMETERS"):
                m.d.comb += leave_parameters.eq(available & ~slot_taken)
                with m.If(leave_parameters & (index == configuration.parameter_beats - 1)):
                    m.d.sync += [index.eq(0), slot_taken.eq(1)]
                    m.next = "PARAMETERS END"
            with m.State("PARAMETERS END"):
                m.d.sync += [freed.eq(read), tile_start.eq(read), last_beat.eq(configuration.tile_beats == 1)]
                with m.If(has_weights):
                    m.next = "WEIGHTS"
                with m.Else():
                    m.d.sync += tiles.next()
                    m.next = "PARAMETERS"
                    with m.If(tiles.last):
                        m.next = "IDLE"
            with m.State("WEIGHTS"):
                m.d.comb += leave_weights.eq(available & ~waiting)
                with m.If(leave_weights):
                    m.d.sync += last_beat.eq(
                        (index == configuration.tile_beats - 2) | (configuration.tile_beats == 1)
                    )
                with m.If(leave_weights & (blocks.last | compute.repeat)):
                    m.d.sync += freed.eq(read + 1)
                with m.If(last_of_tile):
                    m.d.sync += [index.eq(0), steps.next()]
                    with m.If(steps.last):
                        m.d.sync += [steps.begin(compute.steps, one_step), blocks.next()]
                        with m.If(~compute.repeat):
                            m.d.sync += read.eq(tile_start)
                            m.d.comb += rewinding.eq(~blocks.last)
                        with m.If(blocks.last):
                            m.d.sync += [read.eq(read + 1), blocks.begin(compute.blocks, one_block), tiles.next()]
                            m.next = "PARAMETERS"
                            with m.If(tiles.last):
                                m.next = "IDLE"
        m.d.comb += [
            self.busy.eq(~loader.ongoing("IDLE")),
            self.preparing.eq(loader.ongoing("TABLE") | loader.ongoing("SCALES") | loader.ongoing("WRITTEN")),
        ]

        # The beat arrives with its label. What is read late is freed late.
        label = Signal(
            data.StructLayout(
                {"table": 1, "scales": 1, "parameters": 1, "weights": 1, "index": 16, "read": len(read)}
            )
        )
        m.d.comb += [
            label.table.eq(leave_table),
            label.scales.eq(leave_scales),
            label.parameters.eq(leave_parameters),
            label.weights.eq(leave_weights),
            label.index.eq(index),
            label.read.eq(read),
        ]
        late = prescale_latency(configuration)
        addressed = _later(m, label, late + 1)
        arrived = _later(m, addressed, RING_LATENCY - 1)
        m.d.comb += [
            free.eq(_later(m, freed, late)),
            ring_read.addr.eq(addressed.read),
            ring_read.en.eq(addressed.as_value()[:4].any()),
            self.load.eq(arrived.weights),
            self.load_index.eq(arrived.index),
            self.table_beat.eq(arrived.table),
            self.scale_beat.eq(arrived.scales),
        ]
        m.d.sync += self.load_beat.eq(ring_read.data)

        slot = [
            Signal(configuration.port_bits, name=f"slot_{i}", reset_less=True)
            for i in range(configuration.parameter_beats)
        ]
        slot_valid = Signal()
        for place, beat in enumerate(slot):
            with m.If(arrived.parameters & (arrived.index == place)):
                m.d.sync += beat.eq(self.load_beat)
        with m.If(arrived.parameters & (arrived.index == configuration.parameter_beats - 1)):
            m.d.sync += slot_valid.eq(1)
        with m.If(self.parameters.valid & self.parameters.ready):
            m.d.sync += [slot_valid.eq(0), slot_taken.eq(0)]
        m.d.comb += [self.parameters.valid.eq(slot_valid), self.parameters.payload.eq(Cat(slot))]

        starved = Signal(4)  # a few cycles, so that beats on their way from memory count
        stuck = self.busy & ~available & ~room & (written == reserved) & ~loader.ongoing("IDLE")
        m.d.sync += starved.eq(Mux(stuck, starved + ~starved.all(), 0))
        m.d.comb += self.overflow.eq(starved.all())
        return m


def _later(m: Module, value: Any, cycles: int) -> Any:
    """``value``, ``cycles`` cycles later; cleared by reset, as labels must be."""
    for _ in range(cycles):
        register = Signal(value.shape())
        m.d.sync += register.eq(value)
        value = register
    return value
