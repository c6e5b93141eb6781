"""The control port: an AXI4-Lite slave in front of the registers and the trace of isa.py."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Register

__all__ = ["COUNTERS", "Registers", "Trace", "axi4_lite"]

COUNTERS = (
    Register.CYCLES,
    Register.ARRAY_CYCLES,
    Register.WEIGHT_WAITS,
    Register.OUTPUT_WAITS,
    Register.BANK_WAITS,
    Register.READ_BEATS,
    Register.WRITE_BEATS,
)

ADDRESS_BITS = 14


def axi4_lite() -> wiring.Signature:
    """The signals of an AXI4-Lite master, 32 bits wide (Arm IHI 0022)."""
    return wiring.Signature(
        {
            "awaddr": Out(ADDRESS_BITS), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(ADDRESS_BITS), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        }
    )  # fmt: skip


class Registers(wiring.Component):
    """Decodes reads and writes; holds the program's address and nothing else.

    Members:
        bus: the AXI4-Lite port.
        start, reset: one pulse each, from CONTROL.
        keep: with ``start``: bit 2 was set, too.
        program, moved: address of the program's header; one pulse when it is written.
        status, error, error_address, counters: what the read-only registers show.
        trace_queue, trace_index, trace_cycles: read port of the trace, two cycles later; bits 31:0 are the cycle
            of the start and 63:32 that of the end.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "bus": In(axi4_lite()),
                "start": Out(1),
                "reset": Out(1),
                "keep": Out(1),
                "program": Out(64),
                "moved": Out(1),
                "status": In(4),
                "error": In(32),
                "error_address": In(32),
                "counters": In(32).array(len(COUNTERS)),
                "trace_queue": Out(1),
                "trace_index": Out(range(isa.TRACE_ENTRIES)),
                "trace_cycles": In(64),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus = self.bus

        write = Signal()
        m.d.comb += [
            write.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            bus.awready.eq(write),
            bus.wready.eq(write),
        ]
        m.d.sync += [self.start.eq(0), self.reset.eq(0), self.moved.eq(0)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += bus.bvalid.eq(1)
            with m.Switch(bus.awaddr):
                with m.Case(Register.CONTROL):
                    m.d.sync += Cat(self.start, self.reset, self.keep).eq(bus.wdata)
                with m.Case(Register.PROGRAM_LOW):
                    m.d.sync += [self.program[:32].eq(bus.wdata), self.moved.eq(1)]
                with m.Case(Register.PROGRAM_HIGH):
                    m.d.sync += [self.program[32:].eq(bus.wdata), self.moved.eq(1)]

        fingerprint = self.configuration.fingerprint
        values: dict[Register, Any] = {
            Register.IDENTITY: isa.MAGIC,
            Register.VERSION: isa.VERSION,
            Register.FINGERPRINT_LOW: fingerprint & 0xFFFFFFFF,
            Register.FINGERPRINT_HIGH: fingerprint >> 32,
            Register.STATUS: self.status,
            Register.ERROR: self.error,
            Register.ERROR_ADDRESS: self.error_address,
            Register.PROGRAM_LOW: self.program[:32],
            Register.PROGRAM_HIGH: self.program[32:],
            **dict(zip(COUNTERS, self.counters, strict=True)),
        }
        address, value = Signal(ADDRESS_BITS), Signal(32)
        m.d.comb += [
            self.trace_queue.eq(address[12]),
            self.trace_index.eq(address[3:12]),
        ]
        with m.Switch(address):
            for register, shown in values.items():
                with m.Case(register):
                    m.d.comb += value.eq(shown)
        with m.If(address[13]):
            m.d.comb += value.eq(Mux(address[2], self.trace_cycles[32:], self.trace_cycles[:32]))
        with m.FSM():
            with m.State("ADDRESS"):
                m.d.comb += bus.arready.eq(1)
                with m.If(bus.arvalid):
                    m.d.sync += address.eq(bus.araddr)
                    m.next = "LOOK"
            with m.State("LOOK"):
                m.next = "TRACE"
            with m.State("TRACE"):
                m.next = "CAPTURE"
            with m.State("CAPTURE"):
                m.d.sync += [bus.rdata.eq(value), bus.rvalid.eq(1)]
                m.next = "ANSWER"
            with m.State("ANSWER"), m.If(bus.rready):
                m.d.sync += bus.rvalid.eq(0)
                m.next = "ADDRESS"
        return m


class Trace(wiring.Component):
    """When each descriptor of one queue started and ended, in cycles since start.

    Members:
        cycle: now.
        launch, launched: a descriptor starts, and its number; those from TRACE_ENTRIES on are not recorded.
        done, index: a descriptor ends, and its number.
        read_index, cycles: read port, two cycles later.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "cycle": In(32),
                "launch": In(1),
                "launched": In(16),
                "done": In(1),
                "index": In(16),
                "read_index": In(range(isa.TRACE_ENTRIES)),
                "cycles": Out(64),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for part, (event, number) in enumerate(((self.launch, self.launched), (self.done, self.index))):
            store = memory.Memory(shape=32, depth=isa.TRACE_ENTRIES, init=[])
            m.submodules[("starts", "ends")[part]] = store
            write, read = store.write_port(), store.read_port()
            m.d.comb += [
                write.addr.eq(number),
                write.data.eq(self.cycle),
                write.en.eq(event & (number < isa.TRACE_ENTRIES)),
                read.addr.eq(self.read_index),
            ]
            m.d.sync += self.cycles.word_select(part, 32).eq(read.data)
        return m
