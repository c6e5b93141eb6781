"""The requantizer: int32 accumulators to int8 activations, with exactly the bits of IEEE-754 binary32.

Per lane it computes what ONNX Runtime's ``QLinearConv`` computes on a CPU::

    y = clamp(rne(fl(fl(acc) * scale)) + zero_point, low, high)

``fl`` rounds to binary32 (24 significant bits, to nearest, ties to even: IEEE 754-2019, 4.3.1) and ``rne``
to an integer, ties to even. So there are three roundings, and each of them counts: ``fl(acc)`` is inexact
from 2**24 on, the product nearly always is, and the last one is the quantization itself. ONNX Runtime clamps
to [low - zero_point, high - zero_point] before the last rounding; the bounds are integers and rounding is
monotone, so clamping after it is the same.

Numbers on the way, ``N`` of 32 bits, ``A``, ``B`` and ``X`` of 24 bits, each with its leading bit set::

    |acc|     = N * 2**-zeros                    zeros: leading zeros of |acc|
    fl(|acc|) = A * 2**(8 - zeros + carry)       A: N rounded to 24 bits; carry: that gave 2**24
    scale     = B * 2**(exponent - 150)          B: 1.fraction
    product   = A * B, in [2**46, 2**48)         X: its leading 24 bits, the others cut off
    |acc * scale| ~ X * 2**(places - 24)         places: how many bits of X are before the binary point

**Two roundings, one increment.** The product is rounded to 24 bits and then to an integer, but what is
between the two is never needed. Cut X at its binary point into an integer I and a fraction F; ``up`` is the
first rounding's increment of X in its last place; ``half`` is 100..0, one half in F's format. Then:

======  ================  =================  ================
``up``  F                 F after ``up``     I is incremented
======  ================  =================  ================
0       below half        below half         no
0       half              half: a tie        if I is odd
0       above half        above half         yes
1       below half - 1    below half         no
1       half - 1          half: a tie        if I is odd
1       half or above     above half (*)     yes
======  ================  =================  ================

(*) or zero, where F was all ones and ``up`` carried into I: I has been incremented, once, all the same.
This saves a 24-bit carry chain, a wide shifter, and the correction of the exponent after the carry.

The range: ``places`` below 0 means below 1/2, or 1/2 after rounding, a tie that goes to the even 0;
``places`` above 8 means at least 256, beyond every bound. As |acc| >= 1 and the scale is a normal number,
the product is never subnormal.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.pipeline import control_flow, delay, register

__all__ = ["Channel", "Requantize", "RequantizeLane"]


Channel = data.StructLayout(
    {
        "acc": signed(32),  # bias included
        "scale": unsigned(32),  # bits of a binary32, of either sign
        "zero_point": signed(8),
        "low": signed(8),  # lower bound of the result
        "high": signed(8),  # upper bound, not below `low`
    }
)
"""One accumulator and its output channel's parameters. Activations are int8: the uint8 value minus 128.

A scale that is zero or subnormal makes the product 0; infinities and NaN are the compiler's to refuse.
"""


class Requantize(wiring.Component):
    """``lanes`` requantizers side by side: a vector a clock, latency 11 clocks.

    Parameters
    ----------
    lanes
        Elements a vector.
    split_multiplier
        True: the 24 x 24 product is made of four 12 x 12 products in three stages, for tools that leave
        registers where they are (Yosys). False: one product and three registers, for tools that pull them
        into wider multiplier blocks (two DSP48E2, or one 27 x 27). The bits are the same.

    Attributes
    ----------
    input : stream of ``lanes`` x :class:`Channel`
    output : stream of ``lanes`` x int8
    """

    def __init__(self, lanes: int, *, split_multiplier: bool = True) -> None:
        self.lanes = lanes
        self.split_multiplier = split_multiplier
        super().__init__(
            {
                "input": In(stream.Signature(data.ArrayLayout(Channel, lanes))),
                "output": Out(stream.Signature(data.ArrayLayout(signed(8), lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        result = Signal(data.ArrayLayout(signed(8), self.lanes))
        advance = control_flow(m, self.input, self.output, result=result, registers=RequantizeLane.registers)
        for index in range(self.lanes):
            lane = RequantizeLane(split_multiplier=self.split_multiplier)
            m.submodules[f"lane{index}"] = EnableInserter(advance)(lane)
            m.d.comb += [lane.input.eq(self.input.payload[index]), result[index].eq(lane.output)]
        return m


class RequantizeLane(wiring.Component):
    """The arithmetic of one lane: ``output`` belongs to the ``input`` of ``registers`` clocks ago."""

    registers = 10

    def __init__(self, *, split_multiplier: bool = True) -> None:
        self.split_multiplier = split_multiplier
        super().__init__({"input": In(Channel), "output": Out(signed(8))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        acc = self.input.acc
        scale = self.input.scale

        # Stage 1: sign and magnitude. -2**31 becomes 2**31, which 32 unsigned bits hold.
        negative = register(m, acc[31] ^ scale[31])
        magnitude = register(m, Mux(acc[31], -acc, acc)[:32])
        fraction = register(m, scale[:23])
        exponent = register(m, scale[23:31])

        # Stages 2 and 3: normalise. Each step looks for ``step`` leading zeros and shifts them out.
        shifted_2, zeros_2 = _normalise(magnitude, (16, 8))
        shifted_2 = register(m, shifted_2)
        zeros_2 = register(m, zeros_2)
        shifted_3, zeros_3 = _normalise(shifted_2, (4, 2, 1))
        normalised = register(m, shifted_3)
        zeros = register(m, Cat(zeros_3, zeros_2))
        exponent = delay(m, exponent, 2)

        # Stage 4: fl(acc). When the sum carries it is 2**24, and the 23 bits of its fraction are zero: the
        # fraction is right in either case, and the bit before it is always one.
        round_up = normalised[7] & (normalised[:7].any() | normalised[8])
        rounded = register(m, normalised[8:] + round_up)
        nonzero = register(m, normalised[31] & (exponent != 0))
        distance = register(m, exponent - zeros)

        # Stages 5 to 7: the exact product of 1.fraction and 1.fraction. Beside it, where its binary point is:
        # -2 for all that becomes 0 in any case, 9 for all that is out of bounds in any case.
        a = Cat(rounded[:23], Const(1, 1))
        fraction = delay(m, fraction, 3)
        b = Cat(fraction, Const(1, 1))
        product = self._multiply(m, a, b)
        places = register(m, distance + rounded[24] - 95)
        nonzero = delay(m, nonzero, 1)
        bounded = Signal(signed(5))
        m.d.comb += bounded.eq(Mux(~nonzero | (places < -1), -2, Mux(places > 8, 9, places)))
        bounded = delay(m, bounded, 2)

        # Stage 8: the product's leading 24 bits, and whether rounding to them goes up. Only their upper 9 can
        # be before the point or next to it; of the others it matters whether any is one, or all are.
        leading = product[47]
        x = Mux(leading, product[24:48], product[23:47])
        half = Mux(leading, product[23], product[22])
        below_half = Mux(leading, product[:23].any(), product[:22].any())
        up = register(m, half & (below_half | x[0]))
        upper = register(m, x[15:])
        any_below = register(m, x[:15].any())
        all_below = register(m, x[:15].all())
        places = register(m, bounded + leading)

        # Stage 9: split at the binary point.
        integer, guard, any_rest, all_rest = _split(m, upper, places, any_below, all_below)
        integer = register(m, integer)
        guard = register(m, guard)
        any_rest = register(m, any_rest)
        all_rest = register(m, all_rest)
        up = register(m, up)

        # Stage 10: the table above, the sign (-n is ~n + 1) and the zero point in one addition.
        negative = delay(m, negative, 8)
        zero_point = delay(m, self.input.zero_point, 9)
        odd = integer[0]
        increment = Mux(guard, any_rest | up | odd, all_rest & up & odd)
        signed_integer = Cat(integer ^ negative.replicate(9), negative).as_signed()
        y = register(m, zero_point + signed_integer + (increment ^ negative))

        # Stage 11: clamp. Its register is the slice at the end of the pipeline.
        low = delay(m, self.input.low, 10)
        high = delay(m, self.input.high, 10)
        m.d.comb += self.output.eq(Mux(y < low, low, Mux(y > high, high, y)))
        return m

    def _multiply(self, m: Module, a: Any, b: Any) -> Any:
        """The 48-bit product of two 24-bit numbers, three clocks later."""
        if not self.split_multiplier:
            product = register(m, a * b)
            return delay(m, product, 2)
        low_low = register(m, a[:12] * b[:12])
        low_high = register(m, a[:12] * b[12:])
        high_low = register(m, a[12:] * b[:12])
        high_high = register(m, a[12:] * b[12:])
        middle = register(m, low_high + high_low)
        outer = register(m, Cat(low_low, high_high))
        product = register(m, (outer + (middle << 12))[:48])
        return product


def _normalise(value: Any, steps: tuple[int, ...]) -> tuple[Any, Any]:
    """Shift out leading zeros by the given steps; also which steps were taken, the last step as bit 0."""
    taken = []
    for step in steps:
        empty = ~value[-step:].any()
        value = Mux(empty, Cat(Const(0, step), value[:-step]), value)
        taken.append(empty)
    return value, Cat(*reversed(taken))


def _split(m: Module, upper: Any, places: Any, any_below: Any, all_below: Any) -> tuple[Signal, ...]:
    """Cut X at its binary point: integer, first bit of the fraction, any and all of the other bits."""
    integer = Signal(9)
    guard = Signal()
    any_rest = Signal()
    all_rest = Signal()
    with m.Switch(places):
        for count in range(9):
            with m.Case(count):
                cut = 9 - count
                m.d.comb += [
                    integer.eq(upper[cut:]),
                    guard.eq(upper[cut - 1]),
                    any_rest.eq(upper[: cut - 1].any() | any_below),
                    all_rest.eq(upper[: cut - 1].all() & all_below),
                ]
        with m.Case(9, 10):
            m.d.comb += integer.eq(256)
    return integer, guard, any_rest, all_rest
