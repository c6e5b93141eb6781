"""Everything between the memory port and the control port: queues, units and activation memory, wired up.

One soft reset clears all of it; the two ports outside keep their promises to the bus meanwhile.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.activations import Activations
from fieldwave.npu.bursts import burst_layout
from fieldwave.npu.compute_queue import ComputeQueue
from fieldwave.npu.config import Configuration
from fieldwave.npu.datapath import Datapath
from fieldwave.npu.dma import Dma
from fieldwave.npu.isa import ErrorCode, Opcode
from fieldwave.npu.output import OutputPipe
from fieldwave.npu.sequencer import Queue, RecordFetch, compute_is_legal, transfer_is_legal
from fieldwave.npu.tables import TableWriter
from fieldwave.npu.weights import WeightStream

__all__ = ["READERS", "Engine"]

READERS = ("header", "compute queue", "transfer queue", "load", "weights")
"""Who reads memory, in the order of Memory.reads."""


class Engine(wiring.Component):
    """Runs one program.

    Members:
        start: read the header at offset 0 and begin.
        kept: the weight ring still holds the program's whole stream; stable from ``start`` on.
        complete: with ``done``: it does so now.
        done: both queues have ended and everything is in memory.
        read_bursts, beat, beat_valid: to and from memory, one per READERS.
        store_bursts, store_beat, writing: to memory.
        failed, code, queue, index, address: the error that stopped the program (address: word, for
            ACTIVATION_ADDRESS).
        bus_error, bus_code: memory answered with an error.
        launch, launched, finish, completed: per queue, for the trace: a descriptor starts, and its number; it
            ends, and its number. A compute descriptor starts when the datapath begins with it.
        array_used, weight_wait, output_wait, bank_wait: for the counters.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        beat = data.StructLayout({"data": configuration.port_bits, "strobe": configuration.port_bytes})
        burst = stream.Signature(burst_layout(configuration))
        super().__init__(
            {
                "start": In(1),
                "kept": In(1),
                "complete": Out(1),
                "done": Out(1),
                "read_bursts": Out(burst).array(len(READERS)),
                "beat": In(configuration.port_bits),
                "beat_valid": In(1).array(len(READERS)),
                "store_bursts": Out(burst),
                "store_beat": Out(stream.Signature(beat)),
                "writing": In(1),
                "failed": Out(1),
                "code": Out(8),
                "queue": Out(1),
                "index": Out(16),
                "address": Out(24),
                "bus_error": In(1),
                "bus_code": In(8),
                "launch": Out(1).array(2),
                "launched": Out(16).array(2),
                "finish": Out(1).array(2),
                "completed": Out(16).array(2),
                "array_used": Out(1),
                "weight_wait": Out(1),
                "output_wait": Out(1),
                "bank_wait": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration = self.configuration

        # The header, then both queues and the weight stream at once.
        m.submodules.header = header_fetch = RecordFetch(configuration)
        header = data.View(isa.HEADER.layout(), header_fetch.record)
        checking, begin, refused = Signal(), Signal(), Signal()
        fits = (
            (header.magic == isa.MAGIC)
            & (header.version == isa.VERSION)
            & (header.fingerprint == configuration.fingerprint)
        )
        m.d.comb += [header_fetch.start.eq(self.start), begin.eq(checking & header_fetch.valid & fits)]
        m.d.comb += refused.eq(checking & header_fetch.valid & ~fits)
        with m.If(self.start):
            m.d.sync += checking.eq(1)
        with m.Elif(begin | refused):
            m.d.sync += checking.eq(0)

        m.submodules.compute_fetch = compute_fetch = RecordFetch(configuration)
        m.submodules.transfer_fetch = transfer_fetch = RecordFetch(configuration)
        m.submodules.compute_queue = compute_queue = ComputeQueue(configuration)
        m.submodules.transfer_queue = transfer_queue = Queue(configuration)
        transfer = data.View(isa.TRANSFER.layout(), transfer_queue.record)
        for runner, other, fetch, offset, legal in (
            (compute_queue, transfer_queue, compute_fetch, header.compute_offset,
             compute_is_legal(configuration, compute_queue.loading)),
            (transfer_queue, compute_queue, transfer_fetch, header.transfer_offset,
             transfer_is_legal(configuration, transfer)),
        ):  # fmt: skip
            m.d.comb += [
                runner.start.eq(begin),
                runner.offset.eq(offset),
                fetch.start.eq(runner.fetch_start),
                fetch.offset.eq(runner.fetch_offset),
                runner.fetch_record.eq(fetch.record),
                runner.fetch_valid.eq(fetch.valid),
                runner.others.eq(other.completed),
                runner.legal.eq(legal),
                runner.halt.eq(self.failed),
            ]

        # The units.
        lanes = range(configuration.pixel_lanes)
        m.submodules.dma = dma = Dma(configuration)
        readers = (0, *(lane for lane in lanes for _ in ("output", "datapath")))
        m.submodules.activations = activations = Activations(
            configuration,
            readers=readers,
            inputs=[2 + 2 * lane for lane in lanes],
            writers=dma.writers + len(lanes),
            transfers=dma.writers,
        )
        m.submodules.weights = weights = WeightStream(configuration)
        m.submodules.tables = tables = TableWriter(configuration)
        m.submodules.datapath = datapath = Datapath(configuration)
        outputs = [OutputPipe(configuration, lane) for lane in lanes]
        wiring.connect(m, dma.read, activations.reads[0])
        for index, port in enumerate(dma.writes):
            wiring.connect(m, port, activations.writes[index])
        for lane, output in enumerate(outputs):
            m.submodules["output" if len(lanes) == 1 else f"output_{lane}"] = output
            wiring.connect(m, output.read, activations.reads[1 + 2 * lane])
            wiring.connect(m, datapath.reads[lane], activations.reads[2 + 2 * lane])
            wiring.connect(m, output.write, activations.writes[dma.writers + lane])
            wiring.connect(m, datapath.results[lane], output.results)
            m.d.comb += [
                output.word.eq(activations.words[1 + 2 * lane]),
                datapath.words[lane].eq(activations.words[2 + 2 * lane]),
                output.table_valid.eq(tables.table_valid),
                output.table_index.eq(tables.table_index),
                output.table_value.eq(tables.table_value),
            ]
        finished = self._join_lanes(m, weights.parameters, outputs, compute_queue)
        m.d.comb += [
            dma.word.eq(activations.words[0]),
            datapath.tile_ready.eq(weights.tile_ready),
            weights.tile_take.eq(datapath.tile_take),
            datapath.clear.eq(compute_queue.clear),
            datapath.load.eq(weights.load),
            datapath.load_index.eq(weights.load_index),
            datapath.load_beat.eq(weights.load_beat),
            tables.start.eq(compute_queue.load),
            tables.table_beat.eq(weights.table_beat),
            tables.scale_beat.eq(weights.scale_beat),
            tables.beat.eq(weights.load_beat),
            datapath.scale_valid.eq(tables.scale_valid),
            datapath.scale_index.eq(tables.scale_index),
            datapath.scales.eq(tables.scales),
            weights.stream_start.eq(begin),
            weights.yielding.eq(dma.asking),
            weights.stream_offset.eq(header.stream_offset),
            weights.stream_beats.eq(header.stream_beats),
            weights.kept.eq(self.kept),
            self.complete.eq(weights.complete),
            dma.start.eq(transfer_queue.launch),
            dma.transfer.eq(transfer),
            transfer_queue.done.eq(dma.done),
            compute_queue.done.eq(finished),
            compute_queue.loader_busy.eq(weights.busy),
            compute_queue.preparing.eq(weights.preparing),
            compute_queue.issue_busy.eq(datapath.busy),
            weights.start.eq(compute_queue.load),
            weights.compute.eq(compute_queue.loading),
            datapath.start.eq(compute_queue.launch),
            datapath.compute.eq(compute_queue.issuing),
        ]
        for output in outputs:
            m.d.comb += [output.start.eq(compute_queue.finish), output.compute.eq(compute_queue.finishing)]

        # Memory.
        readers = (header_fetch.burst, compute_fetch.burst, transfer_fetch.burst, dma.load_bursts, weights.bursts)
        sinks: tuple[Any, ...] = (header_fetch, compute_fetch, transfer_fetch, dma, weights)
        for index, (bursts, sink) in enumerate(zip(readers, sinks, strict=True)):
            wiring.connect(m, bursts, wiring.flipped(self.read_bursts[index]))
            m.d.comb += [sink.beat.eq(self.beat), sink.beat_valid.eq(self.beat_valid[index])]
        wiring.connect(m, dma.store_bursts, wiring.flipped(self.store_bursts))
        wiring.connect(m, dma.store_beat, wiring.flipped(self.store_beat))
        m.d.comb += dma.writing.eq(self.writing)

        # The first error is kept; nothing is launched after it.
        errors = (
            (refused, ErrorCode.FINGERPRINT, 0),
            (compute_queue.illegal, ErrorCode.ILLEGAL_DESCRIPTOR, 0),
            (transfer_queue.illegal, ErrorCode.ILLEGAL_DESCRIPTOR, 1),
            (activations.outside, ErrorCode.ACTIVATION_ADDRESS, activations.outside_transfer),
            (weights.overflow & compute_queue.oldest, ErrorCode.RING, 0),
        )
        with m.If(~self.failed):
            with m.If(self.bus_error):
                m.d.sync += [self.failed.eq(1), self.code.eq(self.bus_code)]
            for raised, code, number in errors:
                with m.If(raised):
                    m.d.sync += [
                        self.failed.eq(1),
                        self.code.eq(code),
                        self.queue.eq(number),
                        self.address.eq(activations.outside_address),
                    ]
            m.d.sync += self.index.eq(compute_queue.completed)
            with m.If(activations.outside & activations.outside_input & ~compute_queue.clear):
                m.d.sync += self.index.eq(compute_queue.completed + 1)
            with m.If(transfer_queue.illegal | (activations.outside & activations.outside_transfer)):
                m.d.sync += self.index.eq(transfer_queue.completed)

        m.d.comb += self.done.eq(
            Cat(compute_queue.ended, transfer_queue.ended).all() & ~self.writing & ~self.failed
        )
        queues: tuple[Any, ...] = (compute_queue, transfer_queue)
        for index, queue in enumerate(queues):
            m.d.comb += [
                self.launch[index].eq(queue.launch),
                self.launched[index].eq(queue.launched),
                self.finish[index].eq(queue.done),
                self.completed[index].eq(queue.completed),
            ]
        for name in ("array_used", "weight_wait", "output_wait", "bank_wait"):
            m.d.comb += getattr(self, name).eq(getattr(datapath, name))
        return m

    def _join_lanes(self, m: Module, parameters: Any, outputs: list[OutputPipe], queue: ComputeQueue) -> Any:
        """Gives a tile's parameters to the output pipe of every pixel lane, and returns when the last is done.

        A lane without pixels takes no parameters and is never done.
        """
        if len(outputs) == 1:
            wiring.connect(m, parameters, outputs[0].parameters)
            return outputs[0].done
        # The parameters of the next descriptor wait until it finishes: it may use other lanes. Those without
        # parameters take none, whatever waits behind them.
        used = Cat(lane < queue.finishing.lanes for lane in range(len(outputs)))
        tiles = Signal(16)
        has_parameters = queue.finishing.opcode.matches(Opcode.CONV, Opcode.SUM)
        with m.If(queue.finish):
            m.d.sync += tiles.eq(Mux(has_parameters, queue.finishing.tiles, 0))
        with m.Elif(parameters.valid & parameters.ready):
            m.d.sync += tiles.eq(tiles - 1)
        given, done = Signal(len(outputs)), Signal(len(outputs))
        gives, ends = Signal(len(outputs)), Signal(len(outputs))
        finished = Signal()
        for lane, output in enumerate(outputs):
            m.d.comb += [
                output.parameters.payload.eq(parameters.payload),
                output.parameters.valid.eq(parameters.valid & used[lane] & ~given[lane] & (tiles != 0)),
                gives[lane].eq(output.parameters.valid & output.parameters.ready),
                ends[lane].eq(output.done),
            ]
        m.d.comb += [
            parameters.ready.eq((given | gives | ~used).all() & (tiles != 0)),
            finished.eq(ends.any() & (done | ends | ~used).all()),
        ]
        m.d.sync += [
            given.eq(Mux(parameters.valid & parameters.ready, 0, given | gives)),
            done.eq(Mux(queue.finish | finished, 0, done | ends)),
        ]
        return finished
