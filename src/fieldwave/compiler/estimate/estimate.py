"""How long a program takes, without hardware: its units, queues and memory as events, descriptor by descriptor.

Every unit of the hardware has its model: the memory port with its bursts and turns (`port`), the weight ring
(`ring`), the loop nest (`computes`), what is behind the accumulators (`results`), transfers (`transfers`), the two
queues that launch them (`engine`). There is nothing to fit: the only numbers are the depths of pipelines
(`delays`). What it simplifies: a transfer takes its words from a bank evenly over a burst, and the memory's
bandwidth is shared by bursts rather than by beats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fieldwave.compiler.estimate.computes import Run
from fieldwave.compiler.estimate.engine import Engine, Queue
from fieldwave.compiler.estimate.port import Memory
from fieldwave.compiler.records import read_records, stream_beats, transfer_bytes, vectors_of
from fieldwave.compiler.timeline import Span, Timeline
from fieldwave.errors import DeviceError
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["estimate_image"]

SAMPLES = 2000
"""The ring's level is kept at about so many cycles."""

Labels = tuple[Sequence[str], Sequence[str]]


def estimate_image(
    image: bytes,
    configuration: Configuration,
    memory: Memory | None = None,
    labels: Labels | None = None,
    *,
    kept: bool = False,
) -> Timeline:
    """The timeline of one run of ``image``.

    Args:
        memory: what is behind the memory port.
        labels: of the descriptors of the compute and the transfer queue; their numbers, where there are none.
        kept: the weight ring still holds the whole stream, from the run before.

    Raises:
        DeviceError: the image is no program for ``configuration``, its queues wait for each other for ever, or its
            stream is kept and does not fit the ring.
    """
    records = read_records(image, configuration)
    if kept and not records.is_resident(configuration):
        raise DeviceError(
            f"the program's weight stream has {records.header['stream_beats'] * configuration.port_bytes} bytes, "
            f"the ring {configuration.ring_bytes}: it cannot be kept from one run to the next"
        )
    engine = Engine(records, configuration, memory or Memory(), kept=kept)
    engine.run()
    for queue, name, other in (
        (engine.compute, "compute", engine.transfer),
        (engine.transfer, "transfer", engine.compute),
    ):
        if len(queue.ends) < len(queue.descriptors):
            raise DeviceError(
                f"the program would never end: {name} descriptor {len(queue.ends)} does not, after "
                f"{len(other.ends)} of the other queue; compile it again"
            )
    compute, transfer = labels or ((), ())
    spans = (
        *_spans(engine.compute, "compute", compute, configuration, engine.runs, kept=kept),
        *_spans(engine.transfer, "transfer", transfer, configuration, None),
    )
    waits = {cause: sum(span.waits.get(cause, 0) for span in spans) for cause in _waits(Run(0), 0, 0, 0)}
    step = max(1, len(engine.ring.level) // SAMPLES)
    port = configuration.port_bytes
    return Timeline(
        origin="estimated",
        cycles=round(engine.cycles),
        spans=spans,
        waits=waits,
        bytes_read=engine.port.beats_read * port,
        bytes_written=engine.port.beats_written * port,
        ring=tuple((round(cycle), level * port) for cycle, level in engine.ring.level[::step]),
    )


def _spans(
    queue: Queue,
    name: Literal["compute", "transfer"],
    labels: Sequence[str],
    configuration: Configuration,
    runs: Sequence[Run] | None,
    *,
    kept: bool = False,
) -> list[Span]:
    spans = []
    for number, fields in enumerate(queue.descriptors):
        start, end = round(queue.starts[number]), round(queue.ends[number]) + 1
        moved = 0 if kept else _moved(fields, configuration)
        vectors = vectors_of(fields) if runs else 0
        spans.append(
            Span(
                queue=name,
                number=number,
                label=labels[number] if labels else f"{name} {number}",
                operation=Opcode(fields["opcode"]).name,
                start=start,
                end=end,
                wait=start - round(queue.free[number]),
                vectors=vectors,
                waits=_waits(runs[number], start, end, vectors) if runs else {},
                bytes_read=0 if fields["opcode"] == Opcode.STORE else moved,
                bytes_written=moved if fields["opcode"] == Opcode.STORE else 0,
            )
        )
    return spans


def _moved(fields: Mapping[str, int], configuration: Configuration) -> int:
    if fields["opcode"] in (Opcode.LOAD, Opcode.STORE):
        return transfer_bytes(fields, configuration)
    return stream_beats(fields, configuration) * configuration.port_bytes


def _waits(run: Run, start: int, end: int, vectors: int) -> dict[str, int]:
    """The cycles of a compute descriptor without a vector, by cause; what is left over is the weights'."""
    fill, drain = round(run.first) - start, end - round(run.issued)
    output, bank = round(run.output), round(run.bank)
    weights = end - start - vectors - fill - drain - output - bank
    return {"fill": fill, "weights": weights, "output": output, "bank": bank, "drain": drain}
