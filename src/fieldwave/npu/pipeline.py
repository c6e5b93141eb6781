"""What every datapath unit of the NPU is made of: registers, and valid/ready around them.

A unit is written as plain arithmetic, stage after stage, in registers that move all at once, as long as there is
anything to move: an empty pipeline rests, which saves power on the chip and time in the simulator::

               +------------------ advance: enables every register --------------+
               v            v                                                    |
    input -> [stage 1] -> [stage 2] -> ... -> logic of the last stage -> [RegisterSlice] -> output

The pipeline moves whenever the slice at its end can take a vector, and the slice knows that from a flip-flop
of its own: ``ready`` passes through no logic from one unit to the next, however many of them are in a row.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["RegisterSlice", "control_flow", "delay", "register"]


def register(m: Module, value: Any) -> Any:
    """``value``, one clock later, in a register named after the variable it is assigned to.

    Datapath registers have no reset: only valid bits need one, and without it a tool may build delays from
    shift-register memory.
    """
    value = value if hasattr(value, "as_value") else Value.cast(value)
    registered = Signal(value.shape(), reset_less=True, src_loc_at=1)
    m.d.sync += registered.eq(value)
    return registered


def delay(m: Module, value: Any, clocks: int) -> Any:
    """``value``, ``clocks`` clocks later: what travels along while other stages compute."""
    for _ in range(clocks):
        registered = Signal(value.shape(), reset_less=True, src_loc_at=1)
        m.d.sync += registered.eq(value)
        value = registered
    return value


def control_flow(m: Module, source: Any, sink: Any, *, result: Any, registers: int) -> Signal:
    """Give a pipeline its valid bits, its stalls and its last register.

    Parameters
    ----------
    m
        Module of the unit; gets a submodule ``last``.
    source, sink
        The streams to take from and to give to, the unit's own or those of parts of it.
    result
        What leaves the pipeline: the logic of its last stage, ``registers`` clocks after ``source.payload``.
    registers
        Number of register stages before ``result``, 1 or more. The unit's latency is one more.

    Returns
    -------
    Signal
        The enable of every register between ``source.payload`` and ``result``.
    """
    m.submodules.last = last = RegisterSlice(result.shape())
    valid, occupied, advance = Signal(registers), Signal(), Signal()
    coming = Cat(source.valid, valid)[:registers]
    with m.If(advance):
        m.d.sync += [valid.eq(coming), occupied.eq(coming.any())]
    m.d.comb += [
        advance.eq(last.input.ready & (occupied | source.valid)),
        source.ready.eq(last.input.ready),
        last.input.payload.eq(result),
        last.input.valid.eq(valid[-1]),
    ]
    m.d.comb += [
        sink.payload.eq(last.output.payload),
        sink.valid.eq(last.output.valid),
        last.output.ready.eq(sink.ready),
    ]
    return advance


class RegisterSlice(wiring.Component):
    """Registers on both paths of a stream, forward (payload, valid) and backward (ready), at full rate.

    ============  ========  =========  ===============
    vectors held  output    spare      input.ready
    ============  ========  =========  ===============
    0             empty     empty      1
    1             first     empty      1
    2             first     second     0
    ============  ========  =========  ===============

    The spare register takes the one vector that is on its way when the output stalls. Latency: 1 clock.
    """

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        first = Signal(self._shape, reset_less=True)
        spare = Signal(self._shape, reset_less=True)
        valid = Signal()
        full = Signal()

        with m.If(~full & self.input.valid):
            m.d.sync += spare.eq(self.input.payload)
        with m.If(~valid | self.output.ready):
            m.d.sync += [
                first.eq(Mux(full, Value.cast(spare), Value.cast(self.input.payload))),
                valid.eq(full | self.input.valid),
                full.eq(0),
            ]
        with m.Elif(self.input.valid):
            m.d.sync += full.eq(1)

        m.d.comb += [
            self.input.ready.eq(~full),
            self.output.payload.eq(first),
            self.output.valid.eq(valid),
        ]
        return m
