"""The whole core for one run of one program: header, both queues, and what they launch."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial

from fieldwave.compiler.estimate.banks import Banks
from fieldwave.compiler.estimate.clock import Clock, Event, Process, Wait
from fieldwave.compiler.estimate.computes import Computes, Run
from fieldwave.compiler.estimate.delays import delays_of
from fieldwave.compiler.estimate.port import Memory, Port
from fieldwave.compiler.estimate.ring import Ring
from fieldwave.compiler.estimate.transfers import Transfers
from fieldwave.compiler.records import Records
from fieldwave.npu import Configuration

__all__ = ["Engine", "Queue"]

HEADER, COMPUTE, TRANSFER = 0, 1, 2
"""Numbers of these readers at the port."""


class Queue:
    """Descriptors in order, fetched one ahead.

    Attributes:
        descriptors: their fields.
        free: for each, the cycle in which it could have started but for the other queue.
        starts, ends: its launch, and the cycle in which it was done.
    """

    def __init__(self, reader: int, descriptors: Sequence[Mapping[str, int]]) -> None:
        self.reader, self.descriptors = reader, descriptors
        self.free: list[float] = []
        self.starts: list[float] = []
        self.ends: list[float] = []
        self.advanced = Event()


class Engine:
    """Runs one program; ``kept``: with its whole weight stream in the ring.

    Attributes:
        compute, transfer: the queues, with the cycles of their descriptors.
        runs: what happened within each compute descriptor.
        cycles: from start to done.
    """

    def __init__(
        self, records: Records, configuration: Configuration, memory: Memory, *, kept: bool = False
    ) -> None:
        delays = delays_of(configuration)
        self._kept = kept
        self._records, self._configuration, self._clock = records, configuration, Clock()
        self.port = Port(self._clock, configuration, memory)
        self.ring = Ring(self._clock, self.port, configuration, delays)
        banks = Banks()
        self._computes = Computes(self._clock, self.ring, banks, configuration, delays)
        self._transfers = Transfers(self._clock, self.port, self.ring, banks, configuration)
        self.compute, self.transfer = Queue(COMPUTE, records.compute), Queue(TRANSFER, records.transfer)
        self.runs: list[Run] = []
        self.cycles = 0.0

    def run(self) -> None:
        """From start until nothing happens any more; a program whose queues wait for each other stops early."""
        self._clock.at(1, lambda: self._clock.start(self._begin()))
        self._clock.run()

    def _begin(self) -> Process:
        valid = yield from self._fetch(HEADER)
        yield valid + 1
        header = self._records.header
        self._clock.start(self._compute())
        self._clock.start(self._transfer())
        if self._kept:
            self.ring.hold(header["stream_beats"])
        else:
            self._clock.start(self.ring.read(header["stream_offset"], header["stream_beats"]))

    def _fetch(self, reader: int) -> Generator[Wait, None, float]:
        """One record; returns the cycle in which it is there."""
        left = self._configuration.record_beats
        while True:
            size = min(left, self._configuration.burst_beats)
            granted = self.port.ask(reader, size)
            yield granted
            left -= size
            if not left:
                return float(granted.value[1]) + 1
            yield self._clock.now + 1

    def _compute(self) -> Process:
        """Three descriptors at work: the loader and the datapath begin with the next one as soon as they can."""
        queue, other = self.compute, self.transfer
        valid = yield from self._fetch(queue.reader)
        tables = {"lookup": 0.0, "prescale": 0.0}  # from these cycles on they are not in use
        before, written = Run(0), 0.0
        for fields in queue.descriptors:
            # Both may be past by now: that is known only when the vectors of the last one have been issued.
            load = max(valid, self._computes.idle, before.start) + 2
            yield load
            fetching = _Fetching(self._clock, self._fetch(queue.reader))
            load = max(load, *(free * fields[name] for name, free in tables.items()))
            yield from self._computes.load(fields, load)
            start = max(load + 3, written + 3, before.issued + 1)
            if _has_tables(fields):
                start = max(start, self._computes.prepared + 1)
            queue.free.append(start)
            yield start - 1
            while len(other.ends) < fields["wait"]:
                yield other.advanced
            queue.starts.append(max(start, self._clock.now + 1))
            run = Run(queue.starts[-1], written=before.done)
            self.runs.append(run)
            yield from self._computes.run(fields, run)
            self._clock.at(run.done, partial(self._clock.start, self._end(queue, run.done)))
            before, written = run, before.done
            if fields["lookup"]:
                tables["lookup"] = run.done + 1
            if fields["prescale"]:
                tables["prescale"] = run.issued + 1
            if not fetching.record.happened:
                yield fetching.record
            valid = max(fetching.record.value, run.start)
        self.cycles = max(self.cycles, valid + 3, before.done + 2)

    def _transfer(self) -> Process:
        queue, other = self.transfer, self.compute
        valid = yield from self._fetch(queue.reader)
        for fields in queue.descriptors:
            yield valid + 2  # taken, and looked at
            fetching = _Fetching(self._clock, self._fetch(queue.reader))
            queue.free.append(self._clock.now)
            while len(other.ends) < fields["wait"]:
                yield other.advanced
            queue.starts.append(self._clock.now)
            yield from self._transfers.run(fields)
            yield from self._end(queue, self._clock.now)
            if not fetching.record.happened:
                yield fetching.record
            valid = max(fetching.record.value, self._clock.now)
        self.cycles = max(self.cycles, valid + 3)

    def _end(self, queue: Queue, cycle: float) -> Process:
        """A descriptor is done in ``cycle``; the other queue sees it one later."""
        yield cycle
        queue.ends.append(cycle)
        yield cycle + 1
        advanced, queue.advanced = queue.advanced, Event()
        self._clock.happen(advanced)


def _has_tables(fields: Mapping[str, int]) -> bool:
    return bool(fields["lookup"] or fields["prescale"])


class _Fetching:
    """A record on its way, while something else happens; the event brings the cycle in which it is there."""

    def __init__(self, clock: Clock, fetch: Generator[Wait, None, float]) -> None:
        self.record = Event()

        def follow() -> Process:
            valid = yield from fetch
            clock.happen(self.record, valid)

        clock.start(follow())
