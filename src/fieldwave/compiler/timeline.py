"""Where the time of a program goes: what each descriptor did and when, estimated or measured.

The estimator makes a `Timeline` without any hardware; `measured_timeline` makes one of the trace and the counters
of a run. The report draws either. All times are clock cycles since the program was started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fieldwave.compiler.records import Records, stream_beats, transfer_bytes, vectors_of
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["CAUSES", "Span", "Timeline", "measured_timeline"]

CAUSES = {
    "fill": "from its start to its first vector: parameters and the first tile of weights",
    "weights": "a tile of weights was not there yet",
    "output": "no room behind the accumulators",
    "bank": "the activation bank answered a transfer or a residual first",
    "drain": "from its last vector to its last word in activation memory",
    "lost": "any of these: the hardware counts them together",
}
"""What the cycles of a compute descriptor without a vector are spent on."""


@dataclass(frozen=True)
class Span:
    """One descriptor.

    Attributes:
        queue: which queue ran it; ``number`` counts within the queue.
        label: what it is for.
        operation: its opcode: CONV, MAX, AVERAGE, SUM, LOAD, STORE.
        start, end: first cycle, and first cycle after it.
        wait: cycles before the start in which its queue had nothing to do but to wait for the other queue.
        vectors: cycles in which a vector entered the array, or passed it on its way to a pool; 0 for transfers.
        waits: the other cycles from start to end, by cause (`CAUSES`); a transfer has none.
        bytes_read, bytes_written: what it moved through the memory port. A compute descriptor's share of the
            weight stream counts here, though it may have been read long before.
    """

    queue: Literal["compute", "transfer"]
    number: int
    label: str
    operation: str
    start: int
    end: int
    wait: int = 0
    vectors: int = 0
    waits: Mapping[str, int] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def cycles(self) -> int:
        """From start to end."""
        return self.end - self.start

    @property
    def array_cycles(self) -> int:
        """Cycles in which the multipliers had a vector: none in a pool."""
        return self.vectors if self.operation == "CONV" else 0


@dataclass(frozen=True)
class Timeline:
    """One run of one NPU section.

    Attributes:
        origin: whether the figures were estimated or measured.
        cycles: from start to done.
        spans: of both queues, each in order.
        waits: cycles of the whole run by cause, compute queue only.
        bytes_read, bytes_written: through the memory port, descriptors and header included.
        ring: level of the weight ring over time, (cycle, bytes), for drawing; empty when measured.
        missing: descriptors of which the hardware kept no trace.
    """

    origin: Literal["estimated", "measured"]
    cycles: int
    spans: tuple[Span, ...]
    waits: Mapping[str, int]
    bytes_read: int
    bytes_written: int
    ring: tuple[tuple[int, int], ...] = ()
    missing: int = 0

    @property
    def array_cycles(self) -> int:
        """Cycles in which the multipliers had a vector."""
        return sum(span.array_cycles for span in self.spans)

    def of(self, queue: Literal["compute", "transfer"]) -> tuple[Span, ...]:
        """The spans of one queue."""
        return tuple(span for span in self.spans if span.queue == queue)

    def utilisation(self, macs: int, configuration: Configuration) -> float:
        """``macs`` of the network as a share of what all multipliers could do in this time, 0 to 1."""
        return macs / (self.cycles * configuration.multipliers)


def measured_timeline(
    records: Records,
    configuration: Configuration,
    traces: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
    counters: Mapping[str, int],
    labels: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Timeline:
    """What a run's trace and counters say.

    Args:
        traces: start and end of the first descriptors of the compute and of the transfer queue, as the hardware
            recorded them; it keeps 512 of each.
        counters: the cycle counters by name, in small letters.
        labels: of the descriptors of both queues; their numbers, where there are none.
    """
    spans: list[Span] = []
    queues: tuple[tuple[Literal["compute", "transfer"], tuple[Mapping[str, int], ...]], ...] = (
        ("compute", records.compute),
        ("transfer", records.transfer),
    )
    for (queue, descriptors), trace, names in zip(queues, traces, labels or ((), ()), strict=True):
        before = 0
        for number, (fields, (start, last)) in enumerate(zip(descriptors, trace, strict=False)):
            label = names[number] if names else f"{queue} {number}"
            spans.append(_measured(queue, number, label, fields, configuration, before, start, last + 1))
            before = last + 1
    waits = {
        "weights": counters["weight_waits"],
        "output": counters["output_waits"],
        "bank": counters["bank_waits"],
    }
    lost = sum(span.waits.get("lost", 0) for span in spans)
    waits["lost"] = max(0, lost - sum(waits.values()))
    return Timeline(
        origin="measured",
        cycles=counters["cycles"],
        spans=tuple(spans),
        waits=waits,
        bytes_read=counters["read_beats"] * configuration.port_bytes,
        bytes_written=counters["write_beats"] * configuration.port_bytes,
        missing=len(records.compute) + len(records.transfer) - len(spans),
    )


def _measured(
    queue: Literal["compute", "transfer"],
    number: int,
    label: str,
    fields: Mapping[str, int],
    configuration: Configuration,
    before: int,
    start: int,
    end: int,
) -> Span:
    operation = Opcode(fields["opcode"]).name
    wait = max(0, start - before) if fields["wait"] else 0
    if queue == "transfer":
        moved = transfer_bytes(fields, configuration)
        read, written = (moved, 0) if operation == "LOAD" else (0, moved)
        return Span(queue, number, label, operation, start, end, wait, 0, {}, read, written)
    vectors = vectors_of(fields)
    read = stream_beats(fields, configuration) * configuration.port_bytes
    return Span(queue, number, label, operation, start, end, wait, vectors, {"lost": end - start - vectors}, read)
