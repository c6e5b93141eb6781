"""Scale-shift of activations on their way to the array: batch normalisation that no convolution precedes.

Per input channel, on integers alone::

    y = clamp(rne(((x - zero_in) * weight + bias) / 2**shift) + zero_point, low, high)

This is a 1 x 1 depthwise ``QLinearConv`` whose scales make ``xs * ws / ys = 2**-shift`` (with |acc| < 2**24,
where float32 is exact, ONNX Runtime computes the same bits), and its ReLU is in the bounds.
"""

from __future__ import annotations

from typing import Any

from amaranth import EnableInserter, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2

from fieldwave.npu.config import Configuration
from fieldwave.npu.pipeline import control_flow, delay, register
from fieldwave.npu.rounding import ROUNDING_REGISTERS, Target, round_to_int8

__all__ = ["Prescale", "Scale", "prescale_latency"]

Scale = data.StructLayout(
    {
        "enabled": 1,  # 0: the vector passes unchanged, padding for one
        "zero_in": signed(8),
        "target": Target,
    }
)
"""What all channels of a layer have in common. Activations are int8: the uint8 value minus 128."""


def prescale_latency(configuration: Configuration) -> int:
    """Clocks that the unit adds to a vector's way to the array; 0 where it is left out."""
    return 5 + ROUNDING_REGISTERS if configuration.prescale_words else 0


_Parameters = data.StructLayout({"weight": signed(8), "bias": signed(32), "shift": unsigned(5)})


class Prescale(wiring.Component):
    """Scales a vector a clock, latency 9 clocks.

    The parameters of a layer's channels are held in a table, a row for every ``lanes`` channels. It is loaded
    before the layer, ``loads`` channels a clock; rows that are not in use may be loaded while others are.

    Parameters
    ----------
    lanes
        Elements a vector: channels.
    tiles
        Rows of the table.
    loads
        Channels loaded at once, at most ``lanes``. All are powers of two.

    Attributes
    ----------
    input : stream of ``data``, ``lanes`` x int8; ``tile``, the row of the table; ``scale``, :data:`Scale`
    load : stream of ``channel``, ``tile * lanes + lane`` of the first, a multiple of ``loads``; and ``records``,
        ``loads`` x ``weight``, int8; ``bias``, int32; ``shift``, uint5
        Always ready.
    output : stream of ``lanes`` x int8
    """

    def __init__(self, lanes: int, tiles: int, loads: int = 1) -> None:
        self.lanes = lanes
        self.loads = loads
        self.tiles = tiles
        vector = data.ArrayLayout(signed(8), lanes)
        work = data.StructLayout({"data": vector, "tile": ceil_log2(tiles), "scale": Scale})
        load = data.StructLayout(
            {"channel": ceil_log2(lanes * tiles), "records": data.ArrayLayout(_Parameters, loads)}
        )
        super().__init__(
            {
                "input": In(stream.Signature(work)),
                "load": In(stream.Signature(load)),
                "output": Out(stream.Signature(vector)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        stages = Module()
        result = Signal(self.output.payload.shape())
        advance = control_flow(m, self.input, self.output, result=result, registers=4 + ROUNDING_REGISTERS)
        m.submodules.stages = EnableInserter(advance)(stages)
        m.d.comb += self.load.ready.eq(1)

        scale = delay(stages, self.input.payload.scale, 1)
        enabled = scale.enabled
        sums, shifts = [], []
        for lane in range(self.lanes):
            # Stage 1: read the table.
            parameters = self._read(m, lane, advance)
            x = register(stages, self.input.payload.data[lane])

            # Stage 2: a register after the memory; x is x * 1 + 0 where the unit is off.
            weight = register(stages, Mux(enabled, parameters.weight, 1))
            bias = register(stages, Mux(enabled, parameters.bias, 0))
            shift = register(stages, Mux(enabled, parameters.shift, 0))
            difference = register(stages, x - Mux(enabled, scale.zero_in, 0))

            # Stages 3 and 4.
            product = register(stages, difference * weight)
            bias = delay(stages, bias, 1)
            sums.append(register(stages, (product + bias)[:32].as_signed()))
            shifts.append(delay(stages, shift, 2))

        # Stages 5 to 8, and the clamp of the last.
        target = Signal(Target)
        with m.If(enabled):
            m.d.comb += target.eq(scale.target)
        with m.Else():
            m.d.comb += target.eq(Target.const({"zero_point": 0, "low": -128, "high": 127}))
        target = delay(stages, target, 3)
        results = round_to_int8(stages, sums, shifts, target, zero_point_first=False)
        m.d.comb += [result[lane].eq(value) for lane, value in enumerate(results)]
        return m

    def _read(self, m: Module, lane: int, advance: Any) -> Any:
        """The parameters of a lane in the tile that is at the input, one clock later."""
        memory = Memory(shape=_Parameters, depth=self.tiles, init=[])
        m.submodules[f"table{lane}"] = memory
        read = memory.read_port()
        write = memory.write_port()
        load = self.load.payload
        group, position = exact_log2(self.loads), exact_log2(self.lanes)
        m.d.comb += [
            read.en.eq(advance),
            read.addr.eq(self.input.payload.tile),
            write.en.eq(self.load.valid & (load.channel[group:position] == lane // self.loads)),
            write.addr.eq(load.channel[position:]),
            write.data.eq(load.records[lane % self.loads]),
        ]
        return read.data
