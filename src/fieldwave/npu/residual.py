"""Reads what results are combined with, a few vectors ahead of them: the residual, or the windows of a pool."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.activations import READ_LATENCY, read_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.loops import Room
from fieldwave.npu.walk import Walk

__all__ = ["ResidualReader"]

DEPTH = 8


class ResidualReader(wiring.Component):
    """Streams the residual's vectors in the order of results, or those of windows that earlier rows have begun.

    A window is read again a row later, so the reader is never a row of windows ahead of the writer.

    Members:
        start, compute: begin; the descriptor is stable until the last vector has been taken.
        written: a pool's result has reached its place.
        read, word: to and from activation memory.
        vectors: int8 per output lane.
    """

    def __init__(self, configuration: Configuration, lane: int = 0) -> None:
        self.configuration = configuration
        self.lane = lane
        super().__init__(
            {
                "start": In(1),
                "compute": In(isa.COMPUTE.layout()),
                "written": In(1),
                "read": Out(stream.Signature(read_layout(configuration))),
                "word": In(configuration.input_lanes * 8),
                "vectors": Out(stream.Signature(data.ArrayLayout(signed(8), configuration.output_lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        compute = self.compute
        width = self.configuration.output_lanes * 8
        m.submodules.walk = walk = Walk(self.configuration, self.lane)
        m.submodules.queue = queue = fifo.SyncFIFO(width=width, depth=DEPTH)
        room = Room(DEPTH, "room")  # taken by a request, given back when its vector leaves
        asked = Signal()
        place = walk.places.payload
        ahead, passed = Signal(17), Signal()  # places of a pool's results that are not written yet
        m.d.sync += ahead.eq(Mux(self.start, 0, ahead + passed - self.written))
        # ``ahead < pool_columns``, of the next cycle: nothing is compared behind what decides it.
        near = Signal()
        with m.If(self.start):
            m.d.sync += near.eq(1)
        with m.Elif(passed & ~self.written):
            m.d.sync += near.eq((ahead + 1)[: len(ahead)] < compute.pool_columns)
        with m.Elif(self.written & ~passed):
            m.d.sync += near.eq(ahead <= compute.pool_columns)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.compute.eq(compute),
            walk.base.eq(Mux(compute.pool, compute.output_base, compute.residual_base)),
            walk.x_step.eq(Mux(compute.pool, compute.output_x_step, compute.residual_x_step)),
            walk.y_step.eq(Mux(compute.pool, compute.output_y_step, compute.residual_y_step)),
            walk.tile_step.eq(Mux(compute.pool, compute.output_tile_step, compute.residual_tile_step)),
            self.read.payload.bank.eq(Mux(compute.pool, compute.output_bank, compute.residual_bank)),
            self.read.payload.address.eq(place.address),
            asked.eq(self.read.valid & self.read.ready),
            passed.eq(walk.places.valid & walk.places.ready & compute.pool),
        ]
        with m.If(compute.pool):
            m.d.comb += self.read.valid.eq(walk.places.valid & room.some & near & place.continues)
            m.d.comb += walk.places.ready.eq(Mux(place.continues, asked, near))
        with m.Else():
            m.d.comb += [self.read.valid.eq(walk.places.valid & room.some), walk.places.ready.eq(asked)]
        labels = [Cat(asked, place.slice)]
        for cycle in range(READ_LATENCY):
            labels.append(Signal(len(labels[0]), name=f"label_{cycle}"))
            m.d.sync += labels[-1].eq(labels[-2])
        arrived, part = labels[-1][0], labels[-1][1:]
        m.d.comb += [
            queue.w_en.eq(arrived),
            queue.w_data.eq(self.word.word_select(part, width) if self.configuration.slices > 1 else self.word),
            self.vectors.valid.eq(queue.r_rdy),
            self.vectors.payload.eq(queue.r_data),
            queue.r_en.eq(self.vectors.ready),
        ]
        m.d.sync += room.change(taken=asked, given=self.vectors.valid & self.vectors.ready)
        return m
