"""From activation memory to complete results: issue, read, multiply, accumulate.

Nothing between issue and result can stall. A token is issued only when everything it will need is certain: its
bank answers now, its weights are in (or will be, in time), and there is room for its result. After that each part
is a fixed number of cycles away::

    issue -> bank -> bank register -> prescale -> pad -> array ............ -> accumulators -> results
                                                     \\__ lanes (pools) _/
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from fieldwave.npu import isa
from fieldwave.npu.accumulators import MINIMUM_STEP, Accumulators, result_layout
from fieldwave.npu.activations import READ_LATENCY, read_layout
from fieldwave.npu.address import AddressGenerator, token_layout
from fieldwave.npu.array import MultiplierArray
from fieldwave.npu.config import Configuration
from fieldwave.npu.isa import Opcode
from fieldwave.npu.loops import Room
from fieldwave.npu.pipeline import delay, register
from fieldwave.npu.prescale import Prescale, prescale_latency
from fieldwave.npu.weights import weight_latency

__all__ = ["Datapath"]

_SETTINGS = data.StructLayout(
    {
        "opcode": unsigned(8),
        "pad_value": signed(8),
        "prescale": 1,
        "prescale_input_zero": signed(8),
        "prescale_zero": signed(8),
        "prescale_low": signed(8),
        "prescale_high": signed(8),
    }
)
"""What a descriptor says of its vectors after they have been issued."""


class Datapath(wiring.Component):
    """Compute descriptors one after the other, up to their complete int32 results.

    ``reads``, ``words`` and ``results`` have an entry for each pixel lane; their vectors are issued together.

    Members:
        start, compute: begin; the descriptor is stable until the last vector has been issued.
        busy: vectors are still to be issued.
        clear: the descriptor before this one has completed, so that all steps may begin.
        reads, words: to and from activation memory.
        tile_ready, tile_take, load, load_index, load_beat: from the weight stream.
        scale_valid, scale_index, scales: constants of input channels from that one on, for the scale-shift.
        results: complete results in order.
        array_used, weight_wait, output_wait, bank_wait: what this cycle was spent on.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        super().__init__(
            {
                "start": In(1),
                "compute": In(isa.COMPUTE.layout()),
                "busy": Out(1),
                "clear": In(1),
                "reads": Out(stream.Signature(read_layout(configuration))).array(configuration.pixel_lanes),
                "words": In(configuration.input_lanes * 8).array(configuration.pixel_lanes),
                "tile_ready": In(1),
                "tile_take": Out(1),
                "scale_valid": In(1),
                "scale_index": In(16),
                "scales": In(data.ArrayLayout(isa.SCALE.layout(), configuration.scales_at_once)),
                "load": In(1),
                "load_index": In(range(configuration.tile_beats)),
                "load_beat": In(configuration.port_bits),
                "results": Out(stream.Signature(result_layout(configuration))).array(configuration.pixel_lanes),
                "array_used": Out(1),
                "weight_wait": Out(1),
                "output_wait": Out(1),
                "bank_wait": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        configuration, compute = self.configuration, self.compute
        m.submodules.addresses = addresses = AddressGenerator(configuration)
        m.submodules.array = array = MultiplierArray(configuration)
        m.d.comb += [addresses.start.eq(self.start), addresses.compute.eq(compute), self.busy.eq(addresses.busy)]
        token = addresses.tokens.payload
        issue = Signal()
        lanes = range(configuration.pixel_lanes)
        sums = [Accumulators(configuration, value_latency=array.latency) for _ in lanes]
        rooms = [
            self._queue(m, lane, sums[lane], issue & token.last & token.lanes[lane].present) for lane in lanes
        ]

        # Issue.
        uses_weights = compute.opcode == Opcode.CONV
        # A step of few pixels waits until the last one's sums are back, also where its bank held it up.
        age = Signal(range(MINIMUM_STEP + 1), init=MINIMUM_STEP)
        long_step, settled = Signal(), Signal()
        m.d.comb += settled.eq(long_step | (age == MINIMUM_STEP))
        # What the descriptor before this one has still to write is read by later steps than ``early``.
        steps, free = Signal(16), Signal()
        m.d.comb += free.eq(self.clear | (steps != compute.early))
        weights, output, bank = Signal(), Signal(), Signal()
        reading = [
            (port, place.present & ~place.padding) for port, place in zip(self.reads, token.lanes, strict=True)
        ]
        for (port, wanted), place in zip(reading, token.lanes, strict=True):
            m.d.comb += [
                port.valid.eq(addresses.tokens.valid & weights & output & wanted),
                port.payload.bank.eq(compute.input_bank),
                port.payload.address.eq(place.address),
            ]
        m.d.comb += [
            weights.eq(~token.swap | (Mux(uses_weights, self.tile_ready, 1) & settled & free)),
            output.eq(~token.last | Cat(rooms).all()),
            bank.eq(Cat(port.ready | ~wanted for port, wanted in reading).all()),
            addresses.tokens.ready.eq(weights & output & bank),
            issue.eq(addresses.tokens.valid & addresses.tokens.ready),
            self.tile_take.eq(issue & token.swap & uses_weights),
            self.array_used.eq(issue & uses_weights),
            self.weight_wait.eq(addresses.tokens.valid & ~weights),
            self.output_wait.eq(addresses.tokens.valid & weights & ~output),
            self.bank_wait.eq(addresses.tokens.valid & weights & output & ~bank),
        ]
        with m.If(self.start):
            m.d.sync += steps.eq(0)
        with m.Elif(issue & token.swap & ~self.clear):
            m.d.sync += steps.eq(steps + 1)
        with m.If(issue):
            m.d.sync += [age.eq(1), long_step.eq(token.pixel >= MINIMUM_STEP - 1)]
        with m.Elif(age != MINIMUM_STEP):
            m.d.sync += age.eq(age + 1)

        # The token follows its word: bank, bank register, scale-shift, pad.
        scaled = READ_LATENCY + prescale_latency(configuration)
        assert scaled == weight_latency(configuration), "the handshake in weights.py counts on it"
        on_its_way = [
            Signal(token_layout(configuration), name=f"token_{i}", reset_less=True) for i in range(scaled + 2)
        ]
        valid = Signal(scaled + 2)
        m.d.comb += [on_its_way[0].eq(token), valid[0].eq(issue)]
        m.d.sync += [later.eq(earlier) for earlier, later in pairwise(on_its_way)]
        m.d.sync += valid[1:].eq(valid)
        # So does what the descriptor says of it: the next one may be issued right behind.
        settings = [Signal(_SETTINGS, name="settings_0")]
        m.d.comb += [settings[0][name].eq(compute[name]) for name in _SETTINGS.members]
        for cycle in range(scaled + 1 + array.latency):
            settings.append(Signal(_SETTINGS, name=f"settings_{cycle + 1}", reset_less=True))
            m.d.sync += settings[-1].eq(settings[-2])
        pads = settings[scaled].pad_value.replicate(configuration.input_lanes)
        entering, entered = on_its_way[-1], valid[-1]
        m.d.comb += [
            array.swap.eq(entered & entering.swap & (settings[scaled + 1].opcode == Opcode.CONV)),
            array.load.eq(self.load),
            array.load_index.eq(self.load_index),
            array.load_beat.eq(self.load_beat),
        ]
        multiplied, maximum = (register(m, settings[-2].opcode == one) for one in (Opcode.CONV, Opcode.MAX))
        for lane, accumulators in enumerate(sums):
            word = self._prescale(m, lane, on_its_way[READ_LATENCY], valid[READ_LATENCY], settings)
            vector = Signal(data.ArrayLayout(signed(8), configuration.input_lanes), reset_less=True)
            m.d.sync += vector.eq(Mux(on_its_way[scaled].lanes[lane].padding, pads, word))
            m.d.comb += [
                array.vectors[lane].eq(vector),
                accumulators.valid.eq(entered & entering.lanes[lane].present),
                accumulators.maximum.eq(maximum),
            ]
            m.d.comb += [getattr(accumulators, name).eq(entering[name]) for name in ("pixel", "first", "last")]
            m.d.comb += [
                getattr(accumulators, name).eq(entering.lanes[lane][name])
                for name in ("padding", "tile_end", "end")
            ]
            # Pools take the channels themselves, less the pad value, so that padding counts as nothing.
            zero = settings[scaled + 2].pad_value
            values = _channels(m, configuration, vector, entering.slice, zero, array.latency)
            for index, value in enumerate(values):
                m.d.comb += accumulators.values[index].eq(Mux(multiplied, array.dots[lane][index], value))
        return m

    def _queue(self, m: Module, lane: int, accumulators: Accumulators, taken: Any) -> Any:
        """Results of a lane on their way out; room is ``taken`` at issue, given back when the result leaves.
        Returns whether there is room."""
        results = self.results[lane]
        depth = self.configuration.block_pixels
        queue = fifo.SyncFIFOBuffered(width=result_layout(self.configuration).size, depth=depth)
        m.submodules[f"accumulators_{lane}"], m.submodules[f"queue_{lane}"] = accumulators, queue
        room = Room(depth, f"room_{lane}")
        m.d.sync += room.change(taken=taken, given=results.valid & results.ready)
        m.d.comb += [
            queue.w_data.eq(accumulators.result),
            queue.w_en.eq(accumulators.result_valid),
            results.payload.eq(queue.r_data),
            results.valid.eq(queue.r_rdy),
            queue.r_en.eq(results.ready),
        ]
        return room.some

    def _prescale(self, m: Module, lane: int, token: Any, valid: Any, settings: list[Any]) -> Any:
        """The word from activation memory, scaled or delayed; the unit never waits, so its latency is fixed."""
        configuration, now = self.configuration, settings[READ_LATENCY]
        if not configuration.prescale_words:
            return self.words[lane]
        prescale = Prescale(configuration.input_lanes, configuration.prescale_words, configuration.scales_at_once)
        m.submodules[f"prescale_{lane}"] = prescale
        work, load = prescale.input.payload, prescale.load.payload
        m.d.comb += [
            prescale.input.valid.eq(valid & now.prescale),
            work.data.eq(self.words[lane]),
            work.tile.eq(token.channel_word),
            work.scale.enabled.eq(1),
            work.scale.zero_in.eq(now.prescale_input_zero),
            work.scale.target.zero_point.eq(now.prescale_zero),
            work.scale.target.low.eq(now.prescale_low),
            work.scale.target.high.eq(now.prescale_high),
            prescale.load.valid.eq(self.scale_valid),
            load.channel.eq(self.scale_index),
            *(
                load.records[index][name].eq(self.scales[index][name])
                for index in range(configuration.scales_at_once)
                for name in ("weight", "bias", "shift")
            ),
            prescale.output.ready.eq(1),
        ]
        plain = delay(m, self.words[lane], prescale_latency(configuration))
        late = settings[READ_LATENCY + prescale_latency(configuration)]
        return Mux(late.prescale, prescale.output.payload.as_value(), plain)


def _channels(m: Module, configuration: Configuration, vector: Any, part: Any, zero: Any, latency: int) -> Any:
    """The vector's slice ``part`` less ``zero``, ``latency`` cycles later."""
    width = configuration.output_lanes * 8
    layout = data.ArrayLayout(signed(9), configuration.output_lanes)
    chosen = Signal(data.ArrayLayout(signed(8), configuration.output_lanes), reset_less=True)
    m.d.sync += chosen.eq(vector.as_value().word_select(part, width) if configuration.slices > 1 else vector)
    difference = Signal(layout, reset_less=True)
    m.d.sync += difference.eq(Cat((lane - zero)[:9] for lane in chosen))
    stages = [difference]
    for cycle in range(latency - 2):
        stages.append(Signal(layout, name=f"lanes_{cycle}", reset_less=True))
        m.d.sync += stages[-1].eq(stages[-2])
    return stages[-1]
