"""A vector as several narrower ones, and back: for units with fewer lanes than the vector has."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Join", "Split"]


class Split(wiring.Component):
    """Each vector of ``lanes`` becomes ``lanes / part`` vectors of ``part``, lowest lanes first."""

    def __init__(self, shape: Any, *, lanes: int, part: int) -> None:
        self.groups = lanes // part
        super().__init__(
            {
                "input": In(stream.Signature(data.ArrayLayout(shape, lanes))),
                "output": Out(stream.Signature(data.ArrayLayout(shape, part))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        group = Signal(range(max(2, self.groups)))
        last = group == self.groups - 1
        width = self.output.payload.shape().size
        m.d.comb += [
            self.output.payload.eq(self.input.payload.as_value().word_select(group, width)),
            self.output.valid.eq(self.input.valid),
            self.input.ready.eq(self.output.ready & last),
        ]
        with m.If(self.output.valid & self.output.ready & (self.groups > 1)):
            m.d.sync += group.eq(group + 1)
        return m


class Join(wiring.Component):
    """The reverse: ``lanes / part`` vectors of ``part`` become one of ``lanes``."""

    def __init__(self, shape: Any, *, lanes: int, part: int) -> None:
        self.groups = lanes // part
        super().__init__(
            {
                "input": In(stream.Signature(data.ArrayLayout(shape, part))),
                "output": Out(stream.Signature(data.ArrayLayout(shape, lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        if self.groups == 1:
            wiring.connect(m, wiring.flipped(self.input), wiring.flipped(self.output))
            return m
        group = Signal(range(self.groups))
        width = self.input.payload.shape().size
        held = Signal(self.output.payload.shape().size, reset_less=True)
        full = Signal()
        m.d.comb += [
            self.output.payload.eq(held),
            self.output.valid.eq(full),
            self.input.ready.eq(~full | self.output.ready),
        ]
        with m.If(full & self.output.ready):
            m.d.sync += full.eq(0)
        with m.If(self.input.valid & self.input.ready):
            m.d.sync += [held.word_select(group, width).eq(self.input.payload), group.eq(group + 1)]
            with m.If(group == self.groups - 1):
                m.d.sync += full.eq(1)
        return m
