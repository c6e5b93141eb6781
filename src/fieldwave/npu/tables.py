"""Beats of the stream into the tables of the lookup and scale-shift units.

A lookup table is written an entry a cycle, the constants of the scale-shift as many at once as a beat holds.
"""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.config import Configuration

__all__ = ["TableWriter"]


class TableWriter(wiring.Component):
    """Cuts beats into entries. The loader leaves time between beats: as many cycles as it takes to write one.

    Members:
        start: a new descriptor; both tables are written from their first entry.
        table_beat, scale_beat, beat: a part of the lookup table, of the scale-shift constants.
        table_valid, table_index, table_value: an entry of the lookup table.
        scale_valid, scale_index, scales: constants of input channels from that one on.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "table_beat": In(1),
                "scale_beat": In(1),
                "beat": In(configuration.port_bits),
                "table_valid": Out(1),
                "table_index": Out(8),
                "table_value": Out(8),
                "scale_valid": Out(1),
                "scale_index": Out(16),
                "scales": Out(data.ArrayLayout(isa.SCALE.layout(), configuration.scales_at_once)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port_bytes = self.configuration.port_bytes

        held, left = Signal(self.configuration.port_bits, reset_less=True), Signal(range(port_bytes + 1))
        m.d.comb += [self.table_valid.eq(left != 0), self.table_value.eq(held[:8])]
        with m.If(self.table_valid):
            m.d.sync += [held.eq(held >> 8), left.eq(left - 1), self.table_index.eq(self.table_index + 1)]
        with m.If(self.table_beat):
            m.d.sync += [held.eq(self.beat), left.eq(min(port_bytes, isa.TABLE_BYTES))]

        at_once = self.configuration.scales_at_once
        record_bits = isa.SCALE.size * 8 * at_once
        records = max(1, port_bytes // isa.SCALE.size // at_once)
        beats = max(1, isa.SCALE.size // port_bytes)
        scales = Signal(max(record_bits, self.configuration.port_bits), reset_less=True)
        scales_left = Signal(range(records + 1))
        part = Signal(range(max(2, beats)))
        m.d.comb += [
            self.scale_valid.eq(scales_left != 0),
            self.scales.eq(scales[:record_bits]),
        ]
        with m.If(self.scale_valid):
            m.d.sync += [scales_left.eq(scales_left - 1), self.scale_index.eq(self.scale_index + at_once)]
            m.d.sync += scales.eq(scales >> record_bits)
        with m.If(self.scale_beat):
            m.d.sync += [scales.word_select(part, self.configuration.port_bits).eq(self.beat), part.eq(part + 1)]
            with m.If(part == beats - 1):
                m.d.sync += [part.eq(0), scales_left.eq(records)]

        with m.If(self.start):
            m.d.sync += [self.table_index.eq(0), self.scale_index.eq(0)]
        return m
