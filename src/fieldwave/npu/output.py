"""From complete int32 results to int8 words in activation memory, one vector a cycle.

::

    results -> + bias -> CONV, SUM: requantize (+ residual) -+-> (lookup) -> (max pool) -> write
                 \\----> AVERAGE: divide --------------------+
                  \\---> MAX: as it is ---------------------/
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.accumulators import result_layout
from fieldwave.npu.activations import read_layout, write_layout
from fieldwave.npu.config import Configuration
from fieldwave.npu.eltwise import Eltwise
from fieldwave.npu.isa import Opcode
from fieldwave.npu.lookup import Lookup
from fieldwave.npu.maxpool import Columns, Rows
from fieldwave.npu.pipeline import register
from fieldwave.npu.pool import Divide
from fieldwave.npu.regroup import Join, Split
from fieldwave.npu.requantize import Channel, Requantize
from fieldwave.npu.residual import ResidualReader
from fieldwave.npu.walk import Walk
from fieldwave.npu.weights import parameters_layout

__all__ = ["OutputPipe"]


class OutputPipe(wiring.Component):
    """Finishes the results of one compute descriptor at a time, those of one pixel lane.

    Members:
        start, compute: begin; the descriptor is stable until ``done`` of every lane.
        done: one pulse, when the last vector is being written; none where the lane has no pixels.
        results: from the accumulators.
        parameters: one record per lane for each tile, from the weight stream.
        read, word: the residual or the pooled tensor, from activation memory.
        table_valid, table_index, table_value: an entry of the lookup table.
        write: to activation memory.
    """

    def __init__(self, configuration: Configuration, lane: int = 0) -> None:
        self.configuration = configuration
        self.lane = lane
        super().__init__(
            {
                "start": In(1),
                "compute": In(isa.COMPUTE.layout()),
                "done": Out(1),
                "results": In(stream.Signature(result_layout(configuration))),
                "parameters": In(stream.Signature(parameters_layout(configuration))),
                "table_valid": In(1),
                "table_index": In(8),
                "table_value": In(8),
                "read": Out(stream.Signature(read_layout(configuration))),
                "word": In(configuration.input_lanes * 8),
                "write": Out(stream.Signature(write_layout(configuration))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration, compute = self.configuration, self.compute
        lanes = configuration.output_lanes
        # Known a cycle after the descriptor, which is when the first result can be taken.
        requantized = register(m, (compute.opcode == Opcode.CONV) | (compute.opcode == Opcode.SUM))
        averaged = register(m, compute.opcode == Opcode.AVERAGE)
        others = register(m, Mux(compute.opcode == Opcode.AVERAGE, 0, compute.pad_value))

        # The parameters of the tile that is leaving. They change when its last vector has left the register below.
        parameters = Signal(parameters_layout(configuration), reset_less=True)
        have_parameters = Signal()
        m.d.comb += self.parameters.ready.eq(~have_parameters)
        with m.If(self.parameters.valid & self.parameters.ready):
            m.d.sync += [parameters.eq(self.parameters.payload), have_parameters.eq(1)]

        # Bias. A maximum is no sum: what padding reads as has been taken from what it is the largest of.
        biased = Signal(result_layout(configuration), reset_less=True)
        biased_valid, biased_leaves = Signal(), Signal()
        open_ = Signal()  # the next result is this descriptor's
        m.d.comb += self.results.ready.eq(
            open_ & Mux(biased_valid, biased_leaves & ~biased.tile_end, have_parameters | ~requantized)
        )
        with m.If(self.start):
            m.d.sync += open_.eq(self.lane < compute.lanes if configuration.pixel_lanes > 1 else 1)
        with m.Elif(self.results.valid & self.results.ready & self.results.payload.end):
            m.d.sync += open_.eq(0)
        with m.If(biased_leaves):
            m.d.sync += biased_valid.eq(0)
            with m.If(biased.tile_end & requantized):
                m.d.sync += have_parameters.eq(0)
        with m.If(self.results.valid & self.results.ready):
            m.d.sync += [biased.eq(self.results.payload), biased_valid.eq(1)]
            for lane in range(lanes):
                bias = Mux(requantized, parameters[lane].bias, others)
                m.d.sync += biased.lanes[lane].eq(self.results.payload.lanes[lane] + bias)

        # What results are combined with: a residual before the lookup, or the pooled tensor after it.
        m.submodules.residual = residual = ResidualReader(configuration, self.lane)
        m.submodules.split_residual = residual_part = Split(
            signed(8), lanes=lanes, part=configuration.requantizer_lanes
        )
        wiring.connect(m, residual.read, wiring.flipped(self.read))
        m.d.comb += [
            residual.start.eq(self.start & (compute.residual | compute.pool)),
            residual.compute.eq(compute),
            residual.word.eq(self.word),
        ]

        # Three ways to int8; a descriptor takes one of them.
        channels, scaled = self._requantize(m, residual_part)
        divide = self._divide(m, biased)
        m.d.comb += [channels.valid.eq(biased_valid & requantized), divide.input.valid.eq(biased_valid & averaged)]
        for lane in range(lanes):
            m.d.comb += [
                channels.payload[lane].acc.eq(biased.lanes[lane]),
                channels.payload[lane].scale.eq(parameters[lane].scale),
                channels.payload[lane].zero_point.eq(parameters[lane].zero),
                channels.payload[lane].low.eq(parameters[lane].low),
                channels.payload[lane].high.eq(parameters[lane].high),
            ]
        finished = stream.Signature(data.ArrayLayout(signed(8), lanes)).create()
        with m.If(requantized):
            m.d.comb += biased_leaves.eq(channels.valid & channels.ready)
            _follow(m, scaled, finished)
        with m.Elif(averaged):
            m.d.comb += biased_leaves.eq(divide.input.valid & divide.input.ready)
            _follow(m, divide.output, finished)
        with m.Else():
            m.d.comb += [finished.valid.eq(biased_valid), biased_leaves.eq(biased_valid & finished.ready)]
            m.d.comb += [finished.payload[lane].eq(biased.lanes[lane]) for lane in range(lanes)]

        # Where to.
        m.submodules.columns = columns = Columns(configuration)
        m.submodules.rows = rows = Rows(configuration)
        m.submodules.walk = walk = Walk(configuration, self.lane)
        _follow(m, self._lookup(m, finished), columns.input)
        wiring.connect(m, columns.output, rows.vectors)
        wiring.connect(m, walk.places, rows.places)
        wiring.connect(m, rows.write, wiring.flipped(self.write))
        m.d.comb += [
            columns.start.eq(self.start),
            columns.compute.eq(compute),
            walk.start.eq(self.start),
            walk.compute.eq(compute),
            walk.base.eq(compute.output_base),
            walk.x_step.eq(compute.output_x_step),
            walk.y_step.eq(compute.output_y_step),
            walk.tile_step.eq(compute.output_tile_step),
            rows.bank.eq(compute.output_bank),
            rows.earlier.payload.eq(residual.vectors.payload),
            rows.earlier.valid.eq(residual.vectors.valid & compute.pool),
            residual.written.eq(rows.written & compute.pool),
            self.done.eq(rows.done),
        ]
        with m.If(compute.pool):
            m.d.comb += residual.vectors.ready.eq(rows.earlier.ready)
        with m.Else():
            _follow(m, residual.vectors, residual_part.input)
        return m

    def _requantize(self, m: Module, residual: Split) -> tuple[Any, Any]:
        """Requantizer and residual add, ``requantizer_lanes`` at a time; the wide streams in and out."""
        configuration, compute = self.configuration, self.compute
        lanes, part = configuration.output_lanes, configuration.requantizer_lanes
        m.submodules.split = split = Split(Channel, lanes=lanes, part=part)
        m.submodules.requantize = requantize = Requantize(part)
        m.submodules.eltwise = eltwise = Eltwise(part)
        m.submodules.join = join = Join(signed(8), lanes=lanes, part=part)
        wiring.connect(m, split.output, requantize.input)
        wiring.connect(m, residual.output, eltwise.b)
        add = eltwise.a.payload.add
        m.d.comb += [
            eltwise.a.payload.data.eq(requantize.output.payload),
            add.residual.eq(1),
            add.zero_a.eq(compute.residual_a_zero),
            add.zero_b.eq(compute.residual_b_zero),
            add.shift_a.eq(compute.residual_a_shift),
            add.shift_b.eq(compute.residual_b_shift),
            add.shift.eq(compute.residual_shift),
            add.target.zero_point.eq(compute.output_zero),
            add.target.low.eq(compute.clamp_low),
            add.target.high.eq(compute.clamp_high),
        ]
        with m.If(compute.residual):
            m.d.comb += [eltwise.a.valid.eq(requantize.output.valid), requantize.output.ready.eq(eltwise.a.ready)]
            _follow(m, eltwise.output, join.input)
        with m.Else():
            _follow(m, requantize.output, join.input)
        return split.input, join.output

    def _divide(self, m: Module, sums: Any) -> Divide:
        """The divider of averages. A window has four taps or more, so a quarter of the lanes keeps up with it."""
        configuration, compute = self.configuration, self.compute
        lanes = max(1, configuration.requantizer_lanes // 4)
        m.submodules.divide = divide = Divide(configuration.output_lanes, configuration.output_lanes // lanes)
        quotient = divide.input.payload.common
        m.d.comb += [
            quotient.divisor.eq(Mux(compute.padding_counts, compute.average_taps, sums.taps)),
            quotient.shift.eq(compute.average_shift),
            quotient.target.zero_point.eq(compute.output_zero),
            quotient.target.low.eq(compute.clamp_low),
            quotient.target.high.eq(compute.clamp_high),
        ]
        for lane in range(configuration.output_lanes):
            m.d.comb += divide.input.payload.data[lane].eq(sums.lanes[lane])
        return divide

    def _lookup(self, m: Module, vectors: Any) -> Any:
        """The stream behind the table, or ``vectors`` where there is none."""
        if not self.configuration.lookup:
            return vectors
        m.submodules.lookup = lookup = Lookup(self.configuration.output_lanes)
        m.d.comb += [
            lookup.input.valid.eq(vectors.valid),
            lookup.input.payload.data.eq(vectors.payload),
            lookup.input.payload.enabled.eq(self.compute.lookup),
            vectors.ready.eq(lookup.input.ready),
            lookup.load.valid.eq(self.table_valid),
            lookup.load.payload.address.eq(self.table_index),
            lookup.load.payload.value.eq(self.table_value),
        ]
        return lookup.output


def _follow(m: Module, source: Any, sink: Any) -> None:
    """Connect two streams, under the conditions that hold where it is called."""
    m.d.comb += [sink.payload.eq(source.payload), sink.valid.eq(source.valid), source.ready.eq(sink.ready)]
