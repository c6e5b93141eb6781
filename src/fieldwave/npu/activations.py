"""Activation memory: two banks of words, each with one read and one write port.

Any reader can reach any bank; when two of one pixel lane want the same bank in one cycle the first in the list
wins and the other waits. The compiler keeps a convolution's input and its residual in different banks, so that
neither does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.address import ADDRESS_BITS
from fieldwave.npu.config import Configuration
from fieldwave.npu.pipeline import delay

__all__ = ["READ_LATENCY", "Activations", "read_layout", "write_layout"]

READ_LATENCY = 3
"""Cycles from a granted request to its word: a register before the memory, the memory, a register behind it."""


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

    With several pixel lanes every bank is there once per lane, and each reader reads the copy of its lane. A write
    goes to all copies; a bank consists of as many parts as there are lanes, word by word in turn, and each part
    takes a word a cycle.

    Parameters:
        readers: the pixel lane of each reader.
        writers: how many.
        inputs: which readers fetch what is multiplied.
        transfers: how many of the writers, the first ones, write at once what one transfer loads.

    Members:
        reads: requests, the first of a lane has priority; ``words[i]`` answers ``reads[i]`` READ_LATENCY cycles
            later.
        writes: words to write, the first has priority.
        outside: an address was beyond its bank (nothing was written); ``outside_address`` says
            which, ``outside_transfer`` that it was the first reader or one of these writers, ``outside_input``
            one of ``inputs``.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        readers: Sequence[int],
        writers: int,
        inputs: Sequence[int] = (),
        transfers: int = 1,
    ) -> None:
        self.configuration = configuration
        self.inputs = tuple(inputs)
        self.readers = tuple(readers)
        self.writers = writers
        self.transfers = transfers
        super().__init__(
            {
                "reads": In(stream.Signature(read_layout(configuration))).array(len(self.readers)),
                "words": Out(unsigned(configuration.input_lanes * 8)).array(len(self.readers)),
                "writes": In(stream.Signature(write_layout(configuration))).array(writers),
                "outside": Out(1),
                "outside_address": Out(ADDRESS_BITS),
                "outside_transfer": Out(1),
                "outside_input": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes = self.configuration.pixel_lanes
        ways = lanes.bit_length() - 1  # bits of an address that choose the part
        parts = [(bank, part) for bank in range(2) for part in range(lanes)]
        registers = {
            (lane, bank, part): self._part(m, lane, bank, part) for lane in range(lanes) for bank, part in parts
        }

        for index, port in enumerate(self.reads):
            before = [first for lane, first in zip(self.readers[:index], self.reads[:index], strict=True)
                      if lane == self.readers[index]]  # fmt: skip
            taken = [first.valid & (first.payload.bank == port.payload.bank) for first in before]
            m.d.comb += port.ready.eq(~_any(taken))
        for index, port in enumerate(self.writes):
            taken = [
                first.valid
                & (first.payload.bank == port.payload.bank)
                & (first.payload.address[:ways] == port.payload.address[:ways] if ways else 1)
                for first in self.writes[:index]
            ]
            m.d.comb += port.ready.eq(~_any(taken))
        for index, port in enumerate(self.reads):
            chosen = Cat(port.payload.address[:ways], port.payload.bank)
            chosen = delay(m, chosen, READ_LATENCY)
            choices = Array(registers[self.readers[index], bank, part] for bank, part in parts)
            m.d.comb += self.words[index].eq(choices[chosen])

        depths = Array(self.configuration.bank_words)
        for ports, transfers in ((self.reads, 1), (self.writes, self.transfers)):
            for index, port in enumerate(ports):
                with m.If(port.valid & port.ready & (port.payload.address >= depths[port.payload.bank])):
                    m.d.sync += [
                        self.outside.eq(1),
                        self.outside_address.eq(port.payload.address),
                        self.outside_transfer.eq(index < transfers),
                        self.outside_input.eq(ports is self.reads and index in self.inputs),
                    ]
        return m

    def _part(self, m: Module, lane: int, bank: int, part: int) -> Signal:
        """Memories between two registers, which every block memory has; returns the one behind them.

        A bank is as wide as a chip is: who may read or write is decided in one cycle, and told to all of its
        block memories in the next. Reads and writes are late by the same, so their order is that of the grants.
        """
        configuration = self.configuration
        lanes, words = configuration.pixel_lanes, configuration.bank_words[bank]
        ways = lanes.bit_length() - 1
        name = f"bank{bank}" if lanes == 1 else f"bank{bank}_lane{lane}_part{part}"

        def wants(port: Any) -> Any:
            here = port.valid & (port.payload.bank == bank)
            return here & (port.payload.address[:ways] == part) if ways else here

        depth, slices = -(-words // lanes), range(configuration.slices)
        reading, writing = Signal(), Signal(len(slices))
        reads, writes = Signal(name=f"reads_{name}"), Signal(len(slices), name=f"writes_{name}")
        source = Signal(range(depth), name=f"source_{name}", reset_less=True)
        target = Signal(range(depth), name=f"target_{name}", reset_less=True)
        word = Signal(configuration.input_lanes * 8, name=f"word_{name}", reset_less=True)
        m.d.sync += [reads.eq(reading), writes.eq(writing)]
        mine = [port for reader, port in zip(self.readers, self.reads, strict=True) if reader == lane]
        for port in reversed(mine):
            # The first reader of a bank has all parts of it.
            with m.If(port.valid & (port.payload.bank == bank)):
                m.d.comb += reading.eq(wants(port))
                m.d.sync += source.eq(port.payload.address[ways:])
        for port in reversed(list(self.writes)):
            with m.If(wants(port)):
                m.d.comb += writing.eq(Mux(port.payload.address < words, port.payload.mask, 0))
                m.d.sync += [target.eq(port.payload.address[ways:]), word.eq(port.payload.word)]

        found = []
        for index in slices:
            read, write = self._slice(m, f"{name}_slice{index}", depth)
            found.append(read.data)
            m.d.comb += [
                read.en.eq(reads),
                read.addr.eq(source),
                write.en.eq(writes[index]),
                write.addr.eq(target),
                write.data.eq(word.word_select(index, len(read.data))),
            ]
        register = Signal(configuration.input_lanes * 8, name=f"register_{name}", reset_less=True)
        m.d.sync += register.eq(Cat(found))
        return register

    def _slice(self, m: Module, name: str, depth: int) -> tuple[Any, Any]:
        """The read and write port of a memory for one slice of each word.

        What is written of a slice is read no sooner than in the cycle after, so a tool need not care what is read
        in the same. That does not hold for whole words: another slice of them may be written meanwhile.
        """
        word = unsigned(self.configuration.output_lanes * 8)
        m.submodules[name] = store = memory.Memory(shape=word, depth=depth, init=[], attrs={"no_rw_check": 1})
        return store.read_port(), store.write_port()


def _any(conditions: list[Any]) -> Any:
    result: Any = 0
    for condition in conditions:
        result = result | condition
    return result & 1 if conditions else result
