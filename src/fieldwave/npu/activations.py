"""Activation memory: two banks of words, each with one read and one write port.

Any reader can reach any bank; when two want the same bank in one cycle the first in the list wins and the other
waits. The compiler keeps a convolution's input and its residual in different banks, so that neither does.
"""

from __future__ import annotations

from typing import Any

from amaranth import Array, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.address import ADDRESS_BITS
from fieldwave.npu.config import Configuration

__all__ = ["READ_LATENCY", "Activations", "read_layout", "write_layout"]

READ_LATENCY = 2
"""Cycles from a granted request to its word."""


def read_layout(configuration: Configuration) -> data.StructLayout:
    """A request for one word."""
    return data.StructLayout({"bank": 1, "address": unsigned(ADDRESS_BITS)})


def write_layout(configuration: Configuration) -> data.StructLayout:
    """A word to write; ``mask`` has a bit for each slice of output_lanes channels."""
    return data.StructLayout(
        {
            "bank": 1,
            "address": unsigned(ADDRESS_BITS),
            "word": unsigned(configuration.input_lanes * 8),
            "mask": unsigned(configuration.slices),
        }
    )


class Activations(wiring.Component):
    """The two banks and their ports.

    Members:
        reads: requests, the first has priority; ``words[i]`` answers ``reads[i]`` READ_LATENCY cycles later.
        writes: words to write, the first has priority.
        outside: an address was beyond its bank (nothing was written); ``outside_address`` says
            which, ``outside_transfer`` that it was the first reader or writer.
    """

    def __init__(self, configuration: Configuration, *, readers: int, writers: int) -> None:
        self.configuration = configuration
        self.readers = readers
        self.writers = writers
        super().__init__(
            {
                "reads": In(stream.Signature(read_layout(configuration))).array(readers),
                "words": Out(unsigned(configuration.input_lanes * 8)).array(readers),
                "writes": In(stream.Signature(write_layout(configuration))).array(writers),
                "outside": Out(1),
                "outside_address": Out(ADDRESS_BITS),
                "outside_transfer": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration = self.configuration
        width = configuration.input_lanes * 8
        registers = []

        for bank, depth in enumerate(configuration.bank_words):
            m.submodules[f"bank{bank}"] = store = memory.Memory(shape=unsigned(width), depth=depth, init=[])
            read = store.read_port()
            write = store.write_port(granularity=configuration.output_lanes * 8)
            wanted = [port.valid & (port.payload.bank == bank) for port in self.reads]
            m.d.comb += read.en.eq(0)
            for port, want in reversed(list(zip(self.reads, wanted, strict=True))):
                with m.If(want):
                    m.d.comb += [read.en.eq(1), read.addr.eq(port.payload.address)]
            wanted = [port.valid & (port.payload.bank == bank) for port in self.writes]
            for port, want in reversed(list(zip(self.writes, wanted, strict=True))):
                with m.If(want):
                    m.d.comb += [
                        write.en.eq(Mux(port.payload.address < depth, port.payload.mask, 0)),
                        write.addr.eq(port.payload.address),
                        write.data.eq(port.payload.word),
                    ]
            # Every block memory is followed by a register.
            register = Signal(width, name=f"register{bank}", reset_less=True)
            m.d.sync += register.eq(read.data)
            registers.append(register)

        for ports in (self.reads, self.writes):
            for index, port in enumerate(ports):
                taken = [first.valid & (first.payload.bank == port.payload.bank) for first in ports[:index]]
                m.d.comb += port.ready.eq(~_any(taken))
        for index, port in enumerate(self.reads):
            bank_1, bank_2 = Signal(name=f"bank_1_{index}"), Signal(name=f"bank_2_{index}")
            m.d.sync += [bank_1.eq(port.payload.bank), bank_2.eq(bank_1)]
            m.d.comb += self.words[index].eq(Mux(bank_2, registers[1], registers[0]))

        depths = Array(configuration.bank_words)
        for ports in (self.reads, self.writes):
            for index, port in enumerate(ports):
                with m.If(port.valid & port.ready & (port.payload.address >= depths[port.payload.bank])):
                    m.d.sync += [
                        self.outside.eq(1),
                        self.outside_address.eq(port.payload.address),
                        self.outside_transfer.eq(index == 0),
                    ]
        return m


def _any(conditions: list[Any]) -> Any:
    result: Any = 0
    for condition in conditions:
        result = result | condition
    return result & 1 if conditions else result
