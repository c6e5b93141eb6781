"""From what the compiler decided and the timelines of a run to what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fieldwave.compiler import Compiled, summarize
from fieldwave.compiler.emit import Image
from fieldwave.compiler.operations import count_macs
from fieldwave.compiler.queues import Region, Task
from fieldwave.compiler.records import pixels_of
from fieldwave.compiler.schedule import Plan
from fieldwave.compiler.timeline import Span, Timeline
from fieldwave.errors import InputError
from fieldwave.report.facts import Activity, Board, Facts, HostNode, Layer, Residency
from fieldwave.report.layers import layers_of

__all__ = ["collect"]


def collect(compiled: Compiled, timelines: Sequence[Timeline], board: Board) -> Facts:
    """Put together what a compiled network and the timelines of its NPU sections say.

    Raises:
        InputError: nothing of the network runs on the NPU, or the timelines are of another program.
    """
    if not compiled.plans:
        raise InputError(
            f"nothing of network {compiled.program.network!r} runs on the NPU; there is nothing to draw"
        )
    layers: list[Layer] = []
    activities: list[Activity] = []
    residencies: list[Residency] = []
    ring: list[tuple[int, int]] = []
    starts: list[int] = []
    start = 0
    for plan, image, timeline in zip(compiled.plans, compiled.images, timelines, strict=True):
        moved = _moved(timeline, start)
        pairs = _pairs(image, moved)
        made = layers_of(plan, pairs, start, start + timeline.cycles, timeline.missing)
        activities.extend(_activities(plan, pairs, len(layers), board))
        residencies.extend(_residencies(plan, pairs, len(layers)))
        layers.extend(made)
        ring.extend((start + at, level) for at, level in timeline.ring)
        starts.append(start)
        start += timeline.cycles
    reasons = compiled.lowering.refusals
    host = (node for section in compiled.sections if section.side == "host" for node in section.nodes)
    return Facts(
        summary=summarize(compiled),
        configuration=compiled.plans[0].configuration,
        board=board,
        origin=timelines[0].origin,
        cycles=start,
        starts=tuple(starts),
        layers=tuple(layers),
        activities=tuple(activities),
        ring=tuple(ring),
        residencies=tuple(residencies),
        host=tuple(HostNode(node.name, node.op, reasons.get(node.name, "nothing to compute")) for node in host),
        read=sum(timeline.bytes_read for timeline in timelines),
        written=sum(timeline.bytes_written for timeline in timelines),
    )


def _moved(timeline: Timeline, by: int) -> Timeline:
    spans = tuple(replace(span, start=span.start + by, end=span.end + by) for span in timeline.spans)
    return replace(timeline, spans=spans)


def _pairs(image: Image, timeline: Timeline) -> list[tuple[Task, Span]]:
    """Every task with what became of it; the last ones are missing where the hardware kept no trace."""
    pairs: list[tuple[Task, Span]] = []
    for queue in ("compute", "transfer"):
        tasks = [task for task in image.tasks if task.queue == queue]
        spans = timeline.of(queue)
        if len(spans) > len(tasks):
            raise InputError(
                f"the timeline has {len(spans)} descriptors in the {queue} queue, the program {len(tasks)}; "
                "take the timeline of this program"
            )
        pairs.extend(zip(tasks, spans, strict=False))
    return pairs


def _activities(plan: Plan, pairs: Sequence[tuple[Task, Span]], first_layer: int, board: Board) -> list[Activity]:
    configuration = plan.configuration
    shares: list[float] = []  # of a vector's lanes that hold channels, for each operation
    for index, operation in enumerate(plan.operations):
        vectors = sum(span.array_cycles for task, span in pairs if task.operation == index)
        macs = count_macs(operation, plan.layouts[operation.output].map)
        shares.append(min(1.0, macs / (vectors * configuration.multipliers)) if vectors else 0.0)
    found, most = [], board.bytes_per_cycle(configuration)
    for task, span in pairs:
        cycles = max(1, span.cycles)
        results = 0
        if task.queue == "compute":
            slices = configuration.output_lanes // configuration.requantizer_lanes
            results = task.fields["tiles"] * pixels_of(task.fields) * slices
        found.append(
            Activity(
                span=span,
                layer=first_layer + task.operation,
                useful=shares[task.operation] * span.array_cycles / cycles,
                pipe=min(1.0, results / cycles),
                stream=min(1.0, (span.bytes_read + span.bytes_written) / cycles / most),
            )
        )
    return found


def _residencies(plan: Plan, pairs: Sequence[tuple[Task, Span]], first_layer: int) -> list[Residency]:
    lanes = plan.configuration.input_lanes
    found = []
    for buffer, place in zip(plan.memory.buffers, plan.memory.places, strict=True):
        here = Region(place.bank, place.base, place.base + buffer.words)
        users = [
            (task, span)
            for task, span in pairs
            if buffer.first <= task.step <= buffer.last
            and any(region.meets(here) for region in (*task.reads, *task.writes))
        ]
        if users:
            filler = min(users, key=lambda user: user[1].start)[0]
            found.append(
                Residency(
                    bank=place.bank,
                    first=here.start * lanes,
                    last=here.end * lanes,
                    start=min(span.start for _, span in users),
                    end=max(span.end for _, span in users),
                    tensors=buffer.tensors,
                    layer=first_layer + filler.operation,
                    strip=not any(name in plan.layouts for name in buffer.tensors),
                )
            )
    return found
