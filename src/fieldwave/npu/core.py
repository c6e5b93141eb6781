"""The NPU: engine, memory port, control port, and the supervisor that starts, stops and resets them.

A reset first lets the memory port drain, so that no burst is ever cut off; then one cycle clears the engine.
``start`` resets as well: it works after success, after an error and in the middle of a program.

The weight ring's content outlives a reset. The supervisor knows whether it is the whole stream of the program that
PROGRAM points to: from that program's end to the next start, reset, error or write of PROGRAM. Only then does a
start with ``keep`` leave the stream unread.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.axi import Memory, axi4
from fieldwave.npu.config import Configuration
from fieldwave.npu.engine import READERS, Engine
from fieldwave.npu.isa import ErrorCode
from fieldwave.npu.registers import Registers, Trace, axi4_lite

__all__ = ["Npu"]


class Npu(wiring.Component):
    """The whole core, synchronous to one clock.

    Members:
        memory: AXI4 master for programs, weights and tensors.
        control: AXI4-Lite slave, registers of isa.py.
        irq: interrupt, high from the end of a program, good or bad, to the next start or reset.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {"memory": Out(axi4(configuration.port_bytes)), "control": In(axi4_lite()), "irq": Out(1)}
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration = self.configuration
        clear = Signal()  # a flip-flop: it goes to everything
        base = Signal(64)  # of the program that runs, whatever is written to PROGRAM meanwhile
        m.submodules.registers = registers = Registers(configuration)
        m.submodules.port = port = Memory(configuration, readers=len(READERS))
        engine = Engine(configuration)
        m.submodules.engine = ResetInserter(clear)(engine)
        wiring.connect(m, wiring.flipped(self.control), registers.bus)
        wiring.connect(m, port.bus, wiring.flipped(self.memory))
        wiring.connect(m, engine.store_bursts, port.write)
        wiring.connect(m, engine.store_beat, port.write_data)
        for reader in range(len(READERS)):
            wiring.connect(m, engine.read_bursts[reader], port.reads[reader])
            m.d.comb += engine.beat_valid[reader].eq(port.read_valid[reader])
        m.d.comb += [
            engine.beat.eq(port.read_beat),
            engine.writing.eq(port.writing),
            port.base.eq(base),
        ]

        # Supervisor.
        wanted, restart, busy, resetting = Signal(), Signal(), Signal(), Signal()
        keep = Signal()  # was asked for
        same, held = Signal(), Signal()  # PROGRAM is as it was at the start; the ring holds its stream
        with m.FSM():
            with m.State("IDLE"), m.If(wanted):
                m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += [port.drain.eq(1), resetting.eq(1)]
                with m.If(port.idle):
                    m.d.sync += clear.eq(1)
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.comb += [port.drain.eq(1), resetting.eq(1)]
                m.d.sync += [clear.eq(0), base.eq(registers.program)]
                m.d.sync += [wanted.eq(0), engine.kept.eq(held & keep & ~registers.moved), held.eq(0), same.eq(1)]
                m.next = "IDLE"
                with m.If(restart):
                    m.next = "START"
            with m.State("START"):
                m.d.comb += [engine.start.eq(1), busy.eq(1)]
                m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += busy.eq(1)
                with m.If(wanted):
                    m.next = "DRAIN"
                with m.Elif(engine.done | engine.failed):
                    m.d.sync += held.eq(engine.complete & same)
                    m.next = "IDLE"
        with m.If(engine.failed):
            m.d.sync += held.eq(0)
        with m.If(registers.moved):
            m.d.sync += [same.eq(0), held.eq(0)]
        with m.If(registers.start | registers.reset):
            m.d.sync += [wanted.eq(1), restart.eq(registers.start), keep.eq(registers.keep)]

        # What the registers show.
        bus_address, bus_failed = Signal(32), engine.code.matches(ErrorCode.READ_BUS, ErrorCode.WRITE_BUS)
        m.d.comb += [
            engine.bus_error.eq((port.read_error | port.write_error) & busy),
            engine.bus_code.eq(ErrorCode.WRITE_BUS),
            self.irq.eq((engine.done | engine.failed) & ~busy & ~resetting & ~wanted),
            registers.status.eq(Cat(busy, engine.done, engine.failed, resetting | wanted)),
            registers.error.eq(Cat(engine.code, engine.queue, Signal(7), engine.index)),
            registers.error_address.eq(engine.address),
        ]
        with m.If(port.read_error):
            m.d.comb += engine.bus_code.eq(ErrorCode.READ_BUS)
        with m.If(engine.bus_error & ~engine.failed):
            m.d.sync += bus_address.eq(port.error_address)
        with m.If(bus_failed):
            m.d.comb += registers.error_address.eq(bus_address)

        counted = (
            busy,
            engine.array_used,
            engine.weight_wait,
            engine.output_wait,
            engine.bank_wait,
            self.memory.rvalid & self.memory.rready,
            self.memory.wvalid & self.memory.wready,
        )
        for counter, event in zip(registers.counters, counted, strict=True):
            count = Signal(32)
            m.d.comb += counter.eq(count)
            with m.If(clear):
                m.d.sync += count.eq(0)
            with m.Elif(event & busy):
                m.d.sync += count.eq(count + 1)
        for queue in range(2):
            m.submodules[f"trace{queue}"] = trace = Trace()
            m.d.comb += [
                trace.cycle.eq(registers.counters[0]),
                trace.launch.eq(engine.launch[queue]),
                trace.launched.eq(engine.launched[queue]),
                trace.done.eq(engine.finish[queue]),
                trace.index.eq(engine.completed[queue]),
                trace.read_index.eq(registers.trace_index),
            ]
            with m.If(registers.trace_queue == queue):
                m.d.comb += registers.trace_cycles.eq(trace.cycles)
        return m
