"""The residual add: two int8 tensors of different scales into a third, exact.

Activation scales are powers of two, so the sum is an integer and there is one rounding, half to even::

    y = clamp(rne((a - zero_a) * 2**ea + (b - zero_b) * 2**eb + zero_point), low, high)

``2**ea`` is a's scale over y's, ``2**eb`` b's over y's. The exponents are given as three shifts that are not
negative: with ``shift = max(0, -ea, -eb)``, ``shift_a = ea + shift`` and ``shift_b = eb + shift``::

    sum = (a - zero_a) * 2**shift_a + (b - zero_b) * 2**shift_b
    y   = clamp(rne(sum / 2**shift + zero_point), low, high)

This is ONNX Runtime's ``QLinearAdd``, followed by the clamp of an activation function.
"""

from __future__ import annotations

from typing import Any

from amaranth import EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.pipeline import control_flow, delay, register
from fieldwave.npu.rounding import ROUNDING_REGISTERS, Target, round_to_int8

__all__ = ["Add", "Eltwise"]

Add = data.StructLayout(
    {
        "residual": 1,  # 0: b is not taken and counts as zero_b
        "zero_a": signed(8),
        "zero_b": signed(8),
        "shift_a": unsigned(4),
        "shift_b": unsigned(4),
        "shift": unsigned(4),
        "target": Target,
    }
)
"""One addition: how its operands and its result are quantized. int8 stands for the uint8 value minus 128."""


class Eltwise(wiring.Component):
    """Adds ``b`` to ``a``: a vector a clock, latency 8 clocks.

    Settings travel with ``a``, so the next layer may follow without a gap.

    Parameters
    ----------
    lanes
        Elements a vector.

    Attributes
    ----------
    a : stream of ``data``, ``lanes`` x int8, and ``add``, :data:`Add`
    b : stream of ``lanes`` x int8
        One vector for each vector of ``a`` with ``residual``.
    output : stream of ``lanes`` x int8
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        vector = data.ArrayLayout(signed(8), lanes)
        super().__init__(
            {
                "a": In(stream.Signature(data.StructLayout({"data": vector, "add": Add}))),
                "b": In(stream.Signature(vector)),
                "output": Out(stream.Signature(vector)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        both = stream.Signature(self.a.payload.shape()).create()
        residual = self.a.payload.add.residual
        m.d.comb += [
            both.payload.eq(self.a.payload),
            both.valid.eq(self.a.valid & (self.b.valid | ~residual)),
            self.a.ready.eq(both.ready & (self.b.valid | ~residual)),
            self.b.ready.eq(both.ready & self.a.valid & residual),
        ]

        stages = Module()
        add = self.a.payload.add
        shift_a = delay(stages, add.shift_a, 1)
        shift_b = delay(stages, add.shift_b, 1)
        sums = []
        for lane in range(self.lanes):
            # Stages 1 to 3: remove the zero points, align, add.
            difference_a = register(stages, self.a.payload.data[lane] - add.zero_a)
            difference_b = register(stages, Mux(residual, self.b.payload[lane] - add.zero_b, 0))
            aligned_a = register(stages, difference_a << shift_a)
            aligned_b = register(stages, difference_b << shift_b)
            sums.append(register(stages, aligned_a + aligned_b))

        # Stages 4 to 7, and the clamp of the last.
        target = delay(stages, add.target, 3)
        shift = delay(stages, add.shift, 3)
        results = round_to_int8(stages, sums, [shift] * self.lanes, target, zero_point_first=True)

        result = Signal(self.output.payload.shape())
        m.d.comb += [result[lane].eq(value) for lane, value in enumerate(results)]
        advance = control_flow(m, both, self.output, result=result, registers=3 + ROUNDING_REGISTERS)
        m.submodules.stages = EnableInserter(advance)(stages)
        return m
