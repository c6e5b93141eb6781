"""Vectors between units of different widths: one wide vector for several narrow ones, and back.

A unit that is needed less than once a clock can be built with fewer lanes::

    lanes x element --> [Narrow] --> lanes / parts --> unit --> [Widen] --> lanes x element

The lowest elements come first.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Narrow", "Widen"]


class Narrow(wiring.Component):
    """Each vector as ``parts`` narrower ones, a part a clock, latency 1 clock.

    Parameters
    ----------
    element : shape-like
    lanes
        Elements of an input vector.
    parts
        Output vectors for each input vector; divides ``lanes``.
    common : shape-like
        Shape of what belongs to the whole vector and goes out with each of its parts.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x ``element``, and ``common``
    output : stream of ``data``, ``lanes / parts`` x ``element``, and ``common``
    """

    def __init__(self, element: Any, lanes: int, parts: int, common: Any) -> None:
        self.parts = parts
        wide = data.StructLayout({"data": data.ArrayLayout(element, lanes), "common": common})
        narrow = data.StructLayout({"data": data.ArrayLayout(element, lanes // parts), "common": common})
        super().__init__({"input": In(stream.Signature(wide)), "output": Out(stream.Signature(narrow))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(self.input.payload.shape(), reset_less=True)
        left = Signal(range(self.parts + 1))
        width = Value.cast(self.output.payload.data).shape().width
        m.d.comb += [
            self.output.payload.data.eq(Value.cast(held.data)[:width]),
            self.output.payload.common.eq(held.common),
            self.output.valid.eq(left != 0),
            self.input.ready.eq((left == 0) | ((left == 1) & self.output.ready)),
        ]
        with m.If(self.input.ready):
            m.d.sync += [held.eq(self.input.payload), left.eq(self.input.valid * self.parts)]
        with m.Elif(self.output.ready):
            m.d.sync += [Value.cast(held.data).eq(Value.cast(held.data) >> width), left.eq(left - 1)]
        return m


class Widen(wiring.Component):
    """Collects ``parts`` vectors into one, latency 1 clock after the last part.

    Parameters
    ----------
    element : shape-like
    lanes
        Elements of an output vector.
    parts
        Input vectors for each output vector; divides ``lanes``.

    Attributes
    ----------
    input : stream of ``lanes / parts`` x ``element``
    output : stream of ``lanes`` x ``element``
    """

    def __init__(self, element: Any, lanes: int, parts: int) -> None:
        self.parts = parts
        narrow = data.ArrayLayout(element, lanes // parts)
        wide = data.ArrayLayout(element, lanes)
        super().__init__({"input": In(stream.Signature(narrow)), "output": Out(stream.Signature(wide))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        held = Signal(Value.cast(self.output.payload).shape(), reset_less=True)
        count = Signal(range(self.parts + 1))
        full = count == self.parts
        m.d.comb += [
            self.output.payload.eq(held),
            self.output.valid.eq(full),
            self.input.ready.eq(~full | self.output.ready),
        ]
        with m.If(self.input.valid & self.input.ready):
            part = Value.cast(self.input.payload)
            m.d.sync += held.eq(Cat(held, part)[len(part) :])
        with m.If(full & self.output.ready):
            m.d.sync += count.eq(self.input.valid)
        with m.Elif(~full & self.input.valid):
            m.d.sync += count.eq(count + 1)
        return m
