"""The compute queue: the loop nest, step by step where weights may be late, else block by block."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass

from fieldwave.compiler.estimate.banks import Banks
from fieldwave.compiler.estimate.clock import Clock, Event, Process, Wait
from fieldwave.compiler.estimate.delays import MINIMUM_STEP, RING, Delays
from fieldwave.compiler.estimate.results import Results
from fieldwave.compiler.estimate.ring import Ring
from fieldwave.npu import Configuration
from fieldwave.npu.isa import SCALE, Opcode

__all__ = ["Computes", "Run"]

FIRST_TOKEN = 3
"""Cycles from a descriptor's launch to its first vector, where no weights are needed."""
OPEN = 3
"""Cycles from a descriptor's last word to the first result of the next one leaving its queue."""
FIRST_STATE = 1
"""Cycles from a descriptor's launch to the loader's first state."""


@dataclass
class Run:
    """One descriptor at work, in cycles.

    Attributes:
        start, first, issued, done: its launch, its first vector, the cycle after its last one, its last word.
        output, bank: cycles that its vectors waited for room behind the accumulators, and for their bank.
        written: the last word of the descriptor before it.
    """

    start: float
    first: float = 0.0
    issued: float = 0.0
    done: float = 0.0
    output: float = 0.0
    bank: float = 0.0
    written: float = 0.0


class Computes:
    """The unit that runs compute descriptors; it takes the stream's beats in order.

    Attributes:
        idle: from this cycle on the loader takes another descriptor.
    """

    def __init__(
        self, clock: Clock, ring: Ring, banks: Banks, configuration: Configuration, delays: Delays
    ) -> None:
        self._clock, self._ring, self._banks = clock, ring, banks
        self._configuration, self._delays = configuration, delays
        self._beat = 0  # the next one to leave the ring
        self._loader = 0.0  # from this cycle on
        self._shadow = 0.0  # from this cycle on weights may go to the shadow registers
        self._slot = 0.0  # from this cycle on there is a place for a tile's parameters
        self._emptied = 0.0  # from this cycle on the parameters of the descriptor before this one are not in use
        self.idle = 0.0

    def load(self, fields: Mapping[str, int], start: float) -> Process:
        """The loader begins with a descriptor."""
        self._loader = start + FIRST_STATE
        yield from self._tables(fields)

    @property
    def prepared(self) -> float:
        """The cycle from which the tables of the descriptor that was loaded last are there."""
        return self._loader

    def run(self, fields: Mapping[str, int], run: Run) -> Process:
        """One descriptor, from its launch to its last vector; fills in ``run``."""
        opcode, delays = fields["opcode"], self._delays
        weighted, scaled = opcode == Opcode.CONV, opcode in (Opcode.CONV, Opcode.SUM)
        results = Results(self._configuration, delays, delays.occupied(opcode), parameters=scaled)
        issue = run.start + FIRST_TOKEN
        parameters = opened = run.written + OPEN if run.written else 0.0
        early = fields["early"]
        for tile in range(fields["tiles"]):
            if scaled:
                emptied = results.left + results.pace + 1 if tile else self._emptied
                parameters = yield from self._parameters(emptied)
                parameters = max(parameters, opened)
            for block in range(fields["blocks"]):
                pixels = fields["last_pixels"] if block == fields["blocks"] - 1 else fields["block_pixels"]
                period = pixels if pixels >= MINIMUM_STEP else pixels + MINIMUM_STEP - 1
                begun = issue
                if weighted:
                    first, last_step = yield from self._weights(fields, block, period, issue)
                else:
                    first, last_step = issue, issue + (fields["steps"] - 1) * period
                if 0 <= early < fields["steps"] and run.written:
                    at = first + early * max(1.0, (last_step - first) / max(1, fields["steps"] - 1))
                    late = max(0.0, run.written + 1 - at)
                    first, last_step = first + (late if early == 0 else 0.0), last_step + late
                    self._shadow += late
                early -= fields["steps"]
                if tile == block == 0:
                    run.first = begun = first
                last = results.issue(last_step, pixels, parameters)
                run.output += last - (last_step + pixels - 1)
                issue = last + 1 + (period - pixels)
                lost = yield from self._lost(fields, begun, issue, pixels, results)
                run.bank += lost
                issue += lost
                self._loader += lost
                self._shadow += lost
            results.end_tile()
        run.issued = issue - (period - pixels)
        way = delays.finish(opcode, residual=bool(fields["residual"]))
        run.done = max(results.left, run.issued - 1 + delays.result) + way
        self._emptied = results.left + results.pace + 1 if scaled else self._emptied
        self.idle = self._loader
        yield run.issued

    def _tables(self, fields: Mapping[str, int]) -> Generator[Wait, None, None]:
        """The lookup table, byte by byte, and the constants of the scale-shift, word by word."""
        if not (fields["lookup"] or fields["prescale"]):
            return
        configuration = self._configuration
        scale_cycles = max(1, configuration.port_bytes // SCALE.size // configuration.scales_at_once)
        tables = (
            (fields["lookup"] * configuration.table_beats, configuration.port_bytes),
            (fields["prescale"] * fields["prescale_beats"], scale_cycles),
        )
        pace = 0.0
        for beats, cycles in tables:
            for _ in range(beats):
                arrived = yield from self._arrival(self._beat)
                left = max(self._loader, arrived, pace)
                self._ring.free(self._beat, self._beat + 1, left, left + 1)
                self._beat += 1
                self._loader, pace = left + 1, left + cycles
            self._loader += 1
        self._loader += 1  # the tables are written
        self._loader += (configuration.port_bytes if fields["lookup"] else scale_cycles) + RING + self._delays.late
        self._shadow = max(self._shadow, self._loader)

    def _parameters(self, emptied: float) -> Generator[Wait, None, float]:
        """A tile's parameters; the cycle from which results find them. ``emptied``: the tile before has left."""
        size = self._configuration.parameter_beats
        arrived = yield from self._arrival(self._beat + size - 1)
        last = max(max(self._loader, self._slot) + size - 1, arrived)
        self._ring.free(self._beat, self._beat + size, last, last + 1)
        self._beat += size
        self._loader = last + 2
        self._slot = max(last + self._delays.late + RING + 1, emptied) + 1
        return self._slot

    def _weights(
        self, fields: Mapping[str, int], block: int, period: int, issue: float
    ) -> Generator[Wait, None, tuple[float, float]]:
        """A block's steps: when the first and when the last of them begins."""
        ring, beats, steps = self._ring, self._configuration.tile_beats, fields["steps"]
        repeat = bool(fields["repeat"])
        frees = repeat or block == fields["blocks"] - 1
        start, end = self._beat, self._beat + steps * beats
        begin = max(self._loader, self._shadow)
        ready = begin + beats - 1
        if (block and not repeat) or ring.has_by(end - 1, ready):
            each = max(period, beats)
            first = max(ready, issue)
            last = first + (steps - 1) * each
            if steps > 1:
                ready = last - each + beats
            if frees:
                ring.free(start, end, begin, ready + 1)
        else:
            first = last = 0.0
            for step in range(steps):
                place = start + step * beats
                arrived = yield from self._arrival(place + beats - 1)
                ready = max(begin + beats - 1, arrived)
                last = max(ready, issue)
                first = last if step == 0 else first
                if frees:
                    ring.free(place, place + beats, ready - beats + 1, ready + 1)
                begin, issue = last + 1, last + period
        self._loader, self._shadow = ready + 1, last + 1
        if frees:
            self._beat = end
        return first, last

    def _arrival(self, beat: int) -> Generator[Wait, None, float]:
        while True:
            arrived = self._ring.arrival(beat)
            if not isinstance(arrived, Event):
                return arrived
            yield arrived

    def _lost(
        self, fields: Mapping[str, int], begun: float, ended: float, pixels: int, results: Results
    ) -> Generator[Wait, None, float]:
        """Lets a block's cycles pass; those that transfers and residuals took from its vectors come on top.

        A vector that finds its bank taken waits. Where a step is as long as its vectors, so does all that follows;
        where it is as long as the loading of the next weights, only its first vector counts: that begins with it.
        """
        lost = 0.0
        if fields["residual"] and fields["residual_bank"] == fields["input_bank"]:
            lost += pixels
        if fields["pool"] and fields["output_bank"] == fields["input_bank"]:
            lost += pixels * _windows_read(fields)
        own, before = lost, -1.0
        waits_for_weights = fields["opcode"] == Opcode.CONV and pixels < self._configuration.tile_beats
        while lost > before + 0.5:
            if ended + lost > self._clock.now:
                yield ended + lost
            before = lost
            words, cycles = self._banks.taken(fields["input_bank"], "read", begun, ended + lost)
            if waits_for_weights and words:
                steps = fields["steps"] * cycles / (ended - begun)
                spare = (self._configuration.tile_beats - pixels) * steps
                words = max(words - spare, steps * words / max(cycles - words, 1.0))
            lost = own + words
        writes, _ = self._banks.taken(fields["output_bank"], "write", begun, ended + lost)
        cycles = ended + lost - begun
        results.delay(max(0.0, min(writes, cycles) - max(0.0, cycles - pixels * results.pace)))
        return lost


def _windows_read(fields: Mapping[str, int]) -> float:
    """Windows of a fused pool that are read again, for each result: in every row but the first of a window."""
    rows = 1 - (1 - fields["pool_overlap_y"]) / fields["pool_height"]
    return rows * fields["pool_columns"] / fields["output_width"]
