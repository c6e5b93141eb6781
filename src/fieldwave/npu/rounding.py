"""Division by a power of two, rounded half to even, and saturated to int8: the end of every integer unit.

A number is cut into the integer part, the first bit that is dropped (guard), and whether any bit after that
one is set (sticky)::

    value          i i i i i i i i i i g s s s s        shift = 5

======  =======  ====================================
guard   sticky   the integer part is incremented
======  =======  ====================================
0       either   no, the fraction is below one half
1       0        if it is odd: a tie goes to even
1       1        yes, the fraction is above one half
======  =======  ====================================

In two's complement the integer part is the floor, so the table holds for negative numbers too.

A zero point that is added before the rounding, as ONNX Runtime's ``QLinearAdd`` and ``QLinearAveragePool``
do, changes one thing only: which of the two neighbours of a tie is even.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data

from fieldwave.npu.pipeline import delay, register

__all__ = ["ROUNDING_REGISTERS", "Target", "clamp", "round_to_int8"]

Target = data.StructLayout(
    {
        "zero_point": signed(8),
        "low": signed(8),  # lower bound of the result
        "high": signed(8),  # upper bound, not below `low`
    }
)
"""The quantization that a unit writes. Activations are int8: the uint8 value minus 128."""

ROUNDING_REGISTERS = 4


def clamp(value: Any, low: Any, high: Any) -> Any:
    """``min(max(value, low), high)``."""
    return Mux(value < low, low, Mux(value > high, high, value))


def round_to_int8(
    m: Module,
    values: Sequence[Any],
    shifts: Sequence[Any],
    target: Any,
    *,
    zero_point_first: bool,
    sticky: Sequence[Any] | None = None,
) -> list[Any]:
    """``clamp(rne(value / 2**shift) + zero_point, low, high)`` of every lane, one a clock.

    Parameters
    ----------
    m
        Module whose registers make the stages.
    values
        Signed, one a lane.
    shifts
        Unsigned, at most 5 bits, one a lane.
    target
        :data:`Target` of all lanes.
    zero_point_first
        Whether the zero point is added before the rounding: ``rne(value / 2**shift + zero_point)``.
    sticky
        Whether a lane's true value is above ``value``, by less than one; its shift is not 0 then.

    Returns
    -------
    list
        int8 of each lane: combinational, ``ROUNDING_REGISTERS`` clocks later.
    """
    parity = delay(m, target.zero_point[0], 2) if zero_point_first else Const(0, 1)
    zero_point = delay(m, target.zero_point, 3)
    low = delay(m, target.low, 4)
    high = delay(m, target.high, 4)
    results = []
    for lane, (value, shift) in enumerate(zip(values, shifts, strict=True)):
        # Stages 1 and 2: shift by eights, then by ones. Bit 0 is the guard.
        below = Const(0, 1) if sticky is None else sticky[lane]
        shifted_1, sticky_1 = _shift_right(m, Cat(Const(0, 1), value).as_signed(), shift[3:], 8, below)
        coarse = register(m, shifted_1)
        coarse_sticky = register(m, sticky_1)
        remaining = register(m, shift[:3])
        shifted_2, sticky_2 = _shift_right(m, coarse, remaining, 1, coarse_sticky)
        fine = register(m, shifted_2)
        fine_sticky = register(m, sticky_2)

        # Stage 3: the increment; an integer of more than 10 bits is out of bounds whatever is added to it.
        guard, integer = fine[0], fine[1:].as_signed()
        increment = register(m, guard & (fine_sticky | (integer[0] ^ parity)))
        narrow = register(m, clamp(integer, -512, 511)[:10].as_signed())

        # Stage 4: the sum. Its clamp is for the register after it.
        total = register(m, narrow + zero_point + increment)
        results.append(clamp(total, low, high))
    return results


def _shift_right(m: Module, value: Any, count: Any, unit: int, sticky: Any) -> tuple[Signal, Signal]:
    """``value`` shifted right by ``unit * count``; ``sticky``, or whether a bit below the guard was lost."""
    shifted = Signal(value.shape())
    lost = Signal()
    with m.Switch(count):
        for number in range(2 ** len(count)):
            with m.Case(number):
                bits = min(unit * number, len(value) - 1)
                m.d.comb += [shifted.eq(value >> bits), lost.eq(sticky | value[:bits].any())]
    return shifted, lost
