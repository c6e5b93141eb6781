"""The transfer queue: LOAD and STORE, burst by burst."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from fieldwave.compiler.estimate.banks import Banks
from fieldwave.compiler.estimate.clock import Clock, Process
from fieldwave.compiler.estimate.delays import LOAD_BURSTS, READ
from fieldwave.compiler.estimate.port import Port, bursts
from fieldwave.compiler.estimate.ring import Ring
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["Transfers"]

LOADS = 3
"""Number of this reader at the port."""
LEAVES = 2
"""Cycles from a beat's arrival to the write of its first word."""
GATHER = READ + 3
"""Cycles from a word's request to the beat that holds it."""


class Transfers:
    """The unit that copies between memory and banks; runs one descriptor at a time.

    Attributes:
        done: cycle in which the last descriptor ended.
    """

    def __init__(self, clock: Clock, port: Port, ring: Ring, banks: Banks, configuration: Configuration) -> None:
        self._clock, self._port, self._ring = clock, port, ring
        self._banks, self._configuration = banks, configuration
        self.done = 0.0

    def run(self, fields: Mapping[str, int]) -> Process:
        """One descriptor, from its launch on."""
        return self._load(fields) if fields["opcode"] == Opcode.LOAD else self._store(fields)

    def _load(self, fields: Mapping[str, int]) -> Process:
        configuration = self._configuration
        words_per_beat = max(1, configuration.port_bytes // configuration.input_lanes)
        beats_per_word = max(1, configuration.input_lanes // configuration.port_bytes)
        depth, longest = LOAD_BURSTS * configuration.burst_beats, configuration.burst_beats
        together = min(configuration.pixel_lanes, words_per_beat)  # words that are written in a cycle
        waiting: deque[tuple[int, float, float]] = deque()  # beats in the queue: how many, when they leave
        held, written = 0, 0.0
        yield self._clock.now + 2
        self._ring.yielding = True
        for beats, words in _pieces(fields, configuration):
            while held + longest > depth:
                count, first, last = waiting[0]
                over = held + longest - depth
                if over <= count:
                    yield first + (last - first) * over / count + 1
                    taken = min(count, max(over, 1))
                    waiting[0] = (count - taken, first + (last - first) * taken / count, last)
                    held -= taken
                    if waiting[0][0] == 0:
                        waiting.popleft()
                else:
                    held -= count
                    waiting.popleft()
            granted = self._port.ask(LOADS, beats)
            yield granted
            first, last = granted.value
            begin = max(written + 1, first + LEAVES + beats_per_word - 1)
            writes = -(-words // together)
            written = max(begin + writes - 1, last + LEAVES + min(writes, words_per_beat // together) - 1)
            self._banks.take(fields["bank"], "write", begin, written, writes)
            waiting.append((beats, begin, written))
            held += beats
            yield self._clock.now + 1
        self._ring.yielding = False
        self.done = written
        yield written

    def _store(self, fields: Mapping[str, int]) -> Process:
        configuration = self._configuration
        words_per_beat = max(1, configuration.port_bytes // configuration.input_lanes)
        begin = self._clock.now + 2
        read = begin
        last = answered = begin
        for beats, words in _pieces(fields, configuration):
            read = max(read, last - 8)
            ready = read + GATHER + words_per_beat - 1
            start = max(begin, ready - 2)
            yield start
            last, answered = self._port.write(start, beats, words_per_beat)
            self._banks.take(fields["bank"], "read", read, max(last - 3, read), words)
            read = max(read + words, last - 3)
            begin = last + 1
        self.done = answered - 1
        yield self.done


def _pieces(fields: Mapping[str, int], configuration: Configuration) -> Iterator[tuple[int, int]]:
    """Every burst of a transfer: its beats, and the words in them."""
    words_per_beat = max(1, configuration.port_bytes // configuration.input_lanes)
    beats_per_word = max(1, configuration.input_lanes // configuration.port_bytes)
    row_beats = -(-fields["row_words"] // words_per_beat) * beats_per_word
    for row in range(fields["rows"]):
        left = fields["row_words"]
        for beats in bursts(fields["memory_offset"] + row * fields["memory_row_step"], row_beats, configuration):
            words = min(left, beats * words_per_beat // beats_per_word)
            left -= words
            yield beats, words
