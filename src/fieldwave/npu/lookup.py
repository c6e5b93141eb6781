"""Table look-up: any other function of one int8, sigmoid or a change of scale for instance.

Every lane has a copy of the table, 256 bytes, because every lane reads another entry in the same clock: a
block memory has two ports and one of them writes. All copies are written together.
"""

from __future__ import annotations

from typing import Any

from amaranth import EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from fieldwave.npu.pipeline import control_flow, delay, register

__all__ = ["Lookup"]


class Lookup(wiring.Component):
    """Looks up a vector a clock, latency 3 clocks.

    Activations are int8, the uint8 value minus 128; the table is addressed by the eight bits as they are, so
    the entry of the uint8 value ``v`` is number ``v ^ 128``.

    Parameters
    ----------
    lanes
        Elements a vector.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x int8, and ``enabled``; 0: the vector passes unchanged
    load : stream of ``address``, 8 bits, and ``value``, int8
        Always ready. An entry is in the table one clock after it is taken.
    output : stream of ``lanes`` x int8
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        vector = data.ArrayLayout(signed(8), lanes)
        super().__init__(
            {
                "input": In(stream.Signature(data.StructLayout({"data": vector, "enabled": 1}))),
                "load": In(stream.Signature(data.StructLayout({"address": unsigned(8), "value": signed(8)}))),
                "output": Out(stream.Signature(vector)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        stages = Module()
        result = Signal(self.output.payload.shape())
        advance = control_flow(m, self.input, self.output, result=result, registers=2)
        m.submodules.stages = EnableInserter(advance)(stages)
        m.d.comb += self.load.ready.eq(1)

        enabled = delay(stages, self.input.payload.enabled, 2)
        for lane in range(self.lanes):
            # Stages 1 and 2: the memory, and a register after it.
            memory = Memory(shape=signed(8), depth=256, init=[])
            m.submodules[f"table{lane}"] = memory
            read = memory.read_port()
            write = memory.write_port()
            x = self.input.payload.data[lane]
            m.d.comb += [
                read.en.eq(advance),
                read.addr.eq(x),
                write.en.eq(self.load.valid),
                write.addr.eq(self.load.payload.address),
                write.data.eq(self.load.payload.value),
            ]
            looked_up = register(stages, read.data)
            x = delay(stages, x, 2)

            # Stage 3, whose register is at the end of the pipeline.
            m.d.comb += result[lane].eq(Mux(enabled, looked_up, x))
        return m
