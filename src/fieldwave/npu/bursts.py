"""Rows of beats in memory, cut into bursts."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.config import Configuration
from fieldwave.npu.loops import Loop

__all__ = ["Bursts", "burst_layout"]


def burst_layout(configuration: Configuration) -> data.StructLayout:
    """``beats`` beats at byte ``offset`` from the program's header; never across 4096 bytes."""
    return data.StructLayout({"offset": unsigned(32), "beats": range(configuration.burst_beats + 1)})


class Bursts(wiring.Component):
    """Cuts ``rows`` rows of ``row_beats`` beats, ``row_step`` bytes apart, into bursts.

    A burst ends where the address is a multiple of the longest burst, which keeps it within 4096 bytes.

    Members:
        start: begin with the first row at byte ``offset``; the other inputs are stable until ``busy`` falls.
        bursts: the bursts in order of address.
        busy: bursts are still to come.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "offset": In(32),
                "rows": In(32),
                "row_beats": In(32),
                "row_step": In(32),
                "bursts": Out(stream.Signature(burst_layout(configuration))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port_bytes, longest = self.configuration.port_bytes, self.configuration.burst_beats
        row_offset, offset = Signal(32, reset_less=True), Signal(32, reset_less=True)
        rows, beats_left = Loop("rows", 32), Signal(32, reset_less=True)
        to_boundary, beats = Signal(range(longest + 1)), Signal(range(longest + 1))
        place = (offset // port_bytes) % longest
        m.d.comb += [
            to_boundary.eq(longest - place),
            beats.eq(Mux(beats_left < to_boundary, beats_left, to_boundary)),
            self.bursts.valid.eq(self.busy),
            self.bursts.payload.offset.eq(offset),
            self.bursts.payload.beats.eq(beats),
        ]
        with m.If(self.start):
            m.d.sync += [row_offset.eq(self.offset), offset.eq(self.offset)]
            m.d.sync += [rows.begin(self.rows, self.rows == 1), beats_left.eq(self.row_beats)]
            m.d.sync += self.busy.eq((self.row_beats != 0) & (self.rows != 0))
        with m.Elif(self.bursts.valid & self.bursts.ready):
            m.d.sync += [offset.eq(offset + beats * port_bytes), beats_left.eq(beats_left - beats)]
            with m.If(beats_left == beats):
                next_row = Signal(32)
                m.d.comb += next_row.eq(row_offset + self.row_step)
                m.d.sync += [row_offset.eq(next_row), offset.eq(next_row)]
                m.d.sync += [rows.next(), beats_left.eq(self.row_beats)]
                with m.If(rows.last):
                    m.d.sync += self.busy.eq(0)
        return m
