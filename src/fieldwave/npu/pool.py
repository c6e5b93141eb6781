"""Pooling: the largest, the average or the sum of every window, an input vector a clock.

::

    input -> [difference] -> [window so far] -+- maximum ------------+-> [slice] -> output
                                              +- average -> [Divide] +
                                              +- sum --------------------------> sums

A window is a run of vectors from ``first`` to ``last``. Padding is left out of it, or, where it counts, comes
as the zero point, which adds nothing to the sum. The results::

    maximum   clamp(max(x), low, high)
    average   clamp(rne(sum(x - zero_in) / divisor * 2**(8 - shift) + zero_point), low, high)
    sum       sum(x - zero_in), an int32 for the requantizer, which makes it a global average
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu.gearbox import Narrow, Widen
from fieldwave.npu.pipeline import RegisterSlice, control_flow, delay, register
from fieldwave.npu.rounding import ROUNDING_REGISTERS, Target, clamp, round_to_int8

__all__ = ["MAX_DIVISOR", "MAX_WINDOW", "Divide", "Kind", "Pool", "Quotient", "Settings"]

MAX_DIVISOR = 256
"""Vectors in the window of an average."""

MAX_WINDOW = 65_536
"""Vectors in the window of a sum."""

SUM_BITS = 25
"""Of a signed sum: 65,536 differences of 9 bits."""


class Kind(enum.Enum, shape=unsigned(2)):  # type: ignore[call-arg]
    """What a window is reduced to."""

    MAXIMUM = 0
    AVERAGE = 1
    SUM = 2


Quotient = data.StructLayout(
    {
        "divisor": unsigned(9),  # 1 to 256
        "shift": unsigned(5),  # 8 - log2(scale of x / scale of y), 1 to 31
        "target": Target,
    }
)
"""What a sum becomes: ``sum / divisor * 2**(8 - shift)`` in the quantization of ``target``."""

Settings = data.StructLayout(
    {
        "kind": Kind,
        "zero_in": signed(8),  # zero point of x; of no effect on a maximum
        "quotient": Quotient,  # of a maximum only its bounds count
    }
)
"""How a window is reduced, the same for all of its vectors. int8 stands for the uint8 value minus 128."""


class Pool(wiring.Component):
    """Reduces windows, a vector a clock.

    Latency from a window's last vector: 3 clocks for a maximum, 2 for a sum, ``19 + parts`` for an average.

    Parameters
    ----------
    lanes
        Elements a vector.
    parts
        Averages are divided ``lanes / parts`` lanes a clock, so windows of at least ``parts`` vectors are
        never waited for. Maxima and sums take one clock in any case.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x int8; ``first``, ``last``; ``settings``, :data:`Settings`
    output : stream of ``lanes`` x int8
        A vector for each window that is reduced to its maximum or average, in order.
    sums : stream of ``lanes`` x int32
        A vector for each window that is reduced to its sum. Its ``ready`` reaches ``input`` through logic.
    """

    def __init__(self, lanes: int, parts: int = 1) -> None:
        self.lanes = lanes
        self.parts = parts
        vector = data.ArrayLayout(signed(8), lanes)
        window = data.StructLayout({"data": vector, "first": 1, "last": 1, "settings": Settings})
        super().__init__(
            {
                "input": In(stream.Signature(window)),
                "output": Out(stream.Signature(vector)),
                "sums": Out(stream.Signature(data.ArrayLayout(signed(32), lanes))),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        advance = Signal()
        stages = Module()
        m.submodules.stages = EnableInserter(advance)(stages)

        # Stage 1: the difference to the zero point.
        taken = Signal()
        stages.d.sync += taken.eq(self.input.valid)
        first = register(stages, self.input.payload.first)
        last = register(stages, self.input.payload.last)
        now = register(stages, self.input.payload.settings)
        zero_in = self.input.payload.settings.zero_in
        zero_in = Mux(self.input.payload.settings.kind == Kind.MAXIMUM, 0, zero_in)

        # Stage 2: the window so far.
        complete = Signal()
        settings = register(stages, now)
        stages.d.sync += complete.eq(taken & last)
        values = []
        for lane in range(self.lanes):
            difference = register(stages, self.input.payload.data[lane] - zero_in)
            value = Signal(signed(SUM_BITS), reset_less=True)
            larger = Mux(difference > value[:9].as_signed(), difference, value)
            reduced = Mux(now.kind == Kind.MAXIMUM, larger, value + difference)
            with stages.If(taken):
                stages.d.sync += value.eq(Mux(first, difference, reduced))
            values.append(value)

        # Stage 3: by its kind the window goes out, to the dividers, or to the sums. A maximum waits until the
        # averages before it are out.
        m.submodules.divide = divide = Divide(self.lanes, self.parts)
        m.submodules.output = output = RegisterSlice(self.output.payload.shape())
        wiring.connect(m, output.output, wiring.flipped(self.output))
        dividing = Signal(range(64))
        enters = divide.input.valid & divide.input.ready
        leaves = divide.output.valid & divide.output.ready
        m.d.sync += dividing.eq(dividing + enters - leaves)

        target = settings.quotient.target
        for lane, value in enumerate(values):
            maximum = clamp(value[:8].as_signed(), target.low, target.high)
            m.d.comb += [
                output.input.payload[lane].eq(Mux(dividing == 0, maximum, divide.output.payload[lane])),
                divide.input.payload.data[lane].eq(value),
                self.sums.payload[lane].eq(value),
            ]
        m.d.comb += [
            divide.input.payload.common.eq(settings.quotient),
            divide.output.ready.eq(output.input.ready),
            output.input.valid.eq(divide.output.valid),
            self.input.ready.eq(advance),
            advance.eq(~complete),
        ]
        with m.If(complete), m.Switch(settings.kind):
            with m.Case(Kind.MAXIMUM), m.If(dividing == 0):
                m.d.comb += [output.input.valid.eq(1), advance.eq(output.input.ready)]
            with m.Case(Kind.AVERAGE):
                m.d.comb += [divide.input.valid.eq(1), advance.eq(divide.input.ready)]
            with m.Case(Kind.SUM):
                m.d.comb += [self.sums.valid.eq(1), advance.eq(self.sums.ready)]
        return m


class Divide(wiring.Component):
    """Divides a vector of sums every ``parts`` clocks, exactly, with a latency of ``16 + parts`` clocks.

    Restoring division, two digits a stage. |sum| <= 255 * divisor, so the upper byte of |sum| is smaller than
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
        Steps that a vector is divided in; divides ``lanes``.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x int17, and ``common``, :data:`Quotient`
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
        m.submodules.narrow = narrow = Narrow(signed(17), self.lanes, self.parts, Quotient)
        m.submodules.widen = widen = Widen(signed(8), self.lanes, self.parts)
        wiring.connect(m, wiring.flipped(self.input), narrow.input)
        wiring.connect(m, widen.output, wiring.flipped(self.output))

        stages = Module()
        part = narrow.output.payload
        divisor = part.common.divisor
        # Stage 1: sign and magnitude; a digit enters at the lower end of ``digits`` for each bit that leaves.
        negatives, remainders, digits = [], [], []
        for lane in range(self.lanes // self.parts):
            number = part.data[lane]
            negative = register(stages, number[16])
            magnitude = register(stages, Mux(number[16], -number, number)[:16])
            negatives.append(negative)
            remainders.append(magnitude[8:])
            digits.append(Cat(Const(0, 8), magnitude[:8]))

        # Stages 2 to 9: two digits each.
        for _ in range(8):
            divisor = delay(stages, divisor, 1)
            for lane, (remainder, number) in enumerate(zip(remainders, digits, strict=True)):
                remainder, number = _digit(*_digit(remainder, number, divisor), divisor)
                remainders[lane] = register(stages, remainder)
                digits[lane] = register(stages, number)

        # Stage 10: the sign. The floor of -q is -q where nothing remains, else -q - 1.
        quotients, inexact = [], []
        for negative, remainder, number in zip(negatives, remainders, digits, strict=True):
            negative = delay(stages, negative, 8)
            rest = remainder.any()
            quotient = Cat(number ^ negative.replicate(16), negative).as_signed() + (negative & ~rest)
            quotients.append(register(stages, quotient[:17].as_signed()))
            inexact.append(register(stages, rest))

        # Stages 11 to 14, and the clamp of the last.
        shift = delay(stages, part.common.shift, 10)
        target = delay(stages, part.common.target, 10)
        results = round_to_int8(
            stages, quotients, [shift] * len(quotients), target, zero_point_first=True, sticky=inexact
        )
        result = Signal(widen.input.payload.shape())
        m.d.comb += [result[lane].eq(value) for lane, value in enumerate(results)]
        advance = control_flow(m, narrow.output, widen.input, result=result, registers=10 + ROUNDING_REGISTERS)
        m.submodules.stages = EnableInserter(advance)(stages)
        return m


def _digit(remainder: Any, digits: Any, divisor: Any) -> tuple[Any, Any]:
    """One step of the division: the next bit of the sum leaves ``digits`` above, a digit enters below."""
    brought = Cat(digits[-1], remainder)
    difference = brought - divisor
    digit = difference >= 0
    return Mux(digit, difference, brought)[:8], Cat(digit, digits[:-1])
