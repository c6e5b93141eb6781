"""The average of a window: its sum, divided exactly.

The accumulators make the windows, of maxima, sums and averages; the requantizer makes a global average of a sum,
in binary32, as ONNX Runtime does. Any other average is a fraction of integers, rounded once, half to even::

    y = clamp(rne(sum / divisor * 2**(8 - shift) + zero_point), low, high)

``sum`` is that of ``x - zero point of x`` over the window, ``divisor`` counts its elements, and ``2**(8 - shift)``
is x's scale over y's.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.pipeline import control_flow, delay, register
from fieldwave.npu.regroup import Join, Split
from fieldwave.npu.rounding import ROUNDING_REGISTERS, Target, round_to_int8

__all__ = ["MAX_DIVISOR", "Divide", "Quotient"]

MAX_DIVISOR = 256
"""Elements in the window of an average."""
DIGITS = 16
"""Of a quotient: eight before the binary point, eight behind it."""

Quotient = data.StructLayout(
    {
        "divisor": unsigned(9),  # 1 to 256
        "shift": unsigned(5),  # 8 - log2(scale of x / scale of y), 1 to 31
        "target": Target,
    }
)
"""What a sum becomes: ``sum / divisor * 2**(8 - shift)`` in the quantization of ``target``."""


class Divide(wiring.Component):
    """Divides a vector of sums every ``parts`` clocks, exactly; latency 23 clocks, 24 from the last of parts.

    Restoring division, a digit a stage. |sum| <= 255 * divisor, so the upper byte of |sum| is smaller than
    the divisor: it is the first remainder, and the lower byte gives the 8 digits before the binary point.
    Eight more digits follow, and of what remains then it only matters whether it is zero::

        for every digit:  remainder = 2 * remainder + next bit of the sum, 0 after its last
                          digit     = remainder >= divisor
                          remainder = remainder - divisor, if digit

    The quotient is ``floor(|sum| * 2**8 / divisor)``. To be as exact, a multiplication by a reciprocal needs
    25 bits of it, and that is two multiplier blocks a lane on small parts; this needs none.

    Parameters
    ----------
    lanes
        Elements a vector.
    parts
        A vector is divided in ``parts`` steps, ``lanes / parts`` of its lanes in each: as a window of n elements
        takes n clocks to sum, n >= ``parts`` costs no time. A power of two that divides ``lanes``.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x int17, the sums; and ``common``, :data:`Quotient`
    output : stream of ``lanes`` x int8
    """

    def __init__(self, lanes: int, parts: int = 1) -> None:
        self.lanes = lanes
        self.parts = parts
        sums = data.ArrayLayout(signed(17), lanes)
        super().__init__(
            {
                "input": In(stream.Signature(data.StructLayout({"data": sums, "common": Quotient}))),
                "output": Out(stream.Signature(data.ArrayLayout(signed(8), lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        part = self.lanes // self.parts
        m.submodules.split = split = Split(signed(17), lanes=self.lanes, part=part)
        m.submodules.join = join = Join(signed(8), lanes=self.lanes, part=part)
        common = self.input.payload.common
        m.d.comb += [
            split.input.payload.eq(self.input.payload.data),
            split.input.valid.eq(self.input.valid),
            self.input.ready.eq(split.input.ready),
        ]
        wiring.connect(m, join.output, wiring.flipped(self.output))

        stages = Module()
        divisor = common.divisor
        # Stage 1: sign and magnitude; a digit enters at the lower end of ``digits`` for each bit that leaves.
        negatives, remainders, digits = [], [], []
        for number in split.output.payload:
            negative = register(stages, number[16])
            magnitude = register(stages, Mux(number[16], -number, number)[:16])
            negatives.append(negative)
            remainders.append(magnitude[8:])
            digits.append(Cat(Const(0, 8), magnitude[:8]))

        # Stages 2 to 17: a digit each.
        for _ in range(DIGITS):
            divisor = delay(stages, divisor, 1)
            for lane, (remainder, number) in enumerate(zip(remainders, digits, strict=True)):
                remainder, number = _digit(remainder, number, divisor)
                remainders[lane] = register(stages, remainder)
                digits[lane] = register(stages, number)

        # Stage 18: the sign. The floor of -q is -q where nothing remains, else -q - 1.
        quotients, inexact = [], []
        for negative, remainder, number in zip(negatives, remainders, digits, strict=True):
            negative = delay(stages, negative, DIGITS)
            rest = remainder.any()
            quotient = Cat(number ^ negative.replicate(16), negative).as_signed() + (negative & ~rest)
            quotients.append(register(stages, quotient[:17].as_signed()))
            inexact.append(register(stages, rest))

        # Stages 19 to 22, and the clamp of the last.
        shift = delay(stages, common.shift, DIGITS + 2)
        target = delay(stages, common.target, DIGITS + 2)
        results = round_to_int8(
            stages, quotients, [shift] * len(quotients), target, zero_point_first=True, sticky=inexact
        )
        result = Signal(join.input.payload.shape())
        m.d.comb += [result[lane].eq(value) for lane, value in enumerate(results)]
        advance = control_flow(
            m, split.output, join.input, result=result, registers=DIGITS + 2 + ROUNDING_REGISTERS
        )
        m.submodules.stages = EnableInserter(advance)(stages)
        return m


def _digit(remainder: Any, digits: Any, divisor: Any) -> tuple[Any, Any]:
    """One step of the division: the next bit of the sum leaves ``digits`` above, a digit enters below."""
    brought = Cat(digits[-1], remainder)
    difference = brought - divisor
    digit = difference >= 0
    return Mux(digit, difference, brought)[:8], Cat(digit, digits[:-1])
