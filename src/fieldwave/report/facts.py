"""What the report draws, from what the compiler decided and from a timeline of the run: no drawing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fieldwave.compiler import Compiled, Summary, summarize
from fieldwave.compiler.emit import Image
from fieldwave.compiler.operations import Operation, count_macs
from fieldwave.compiler.queues import Region, Task
from fieldwave.compiler.records import pixels_of
from fieldwave.compiler.schedule import Plan
from fieldwave.compiler.timeline import CAUSES, Span, Timeline
from fieldwave.errors import InputError
from fieldwave.npu import Configuration

__all__ = ["PARTS", "Activity", "Board", "Facts", "HostNode", "Layer", "Residency", "collect"]

PARTS = {
    "multiply": "multiply-accumulates of the network, every multiplier busy",
    "idle lanes": "vectors of which some lanes hold no channel",
    "pool": "vectors on their way past the array to a pool",
    **CAUSES,
    "transfer": "waiting for a load or a store",
    "between": "from one descriptor to the next",
}
"""What the cycles of a layer are spent on; they add up to its time."""


@dataclass(frozen=True)
class Board:
    """What the NPU stands on.

    Attributes:
        clock: cycles a second.
        bandwidth: of its memory, bytes a second.
        latency: of its memory, cycles.
    """

    clock: float
    bandwidth: float
    latency: int = 100

    def bytes_per_cycle(self, configuration: Configuration) -> float:
        """What the memory and the NPU's port can both do."""
        return min(self.bandwidth / self.clock, configuration.port_bytes)

    def microseconds(self, cycles: float) -> float:
        return 1e6 * cycles / self.clock


@dataclass(frozen=True)
class Layer:
    """One operation of the NPU.

    Attributes:
        name: its first ONNX node.
        nodes: all ONNX nodes in it.
        kind: opcode and window, ``CONV 3 x 3 / 2 x 2``.
        result: size of the map that it makes.
        parts: cycles by what they were spent on (`PARTS`).
        macs: multiply-accumulates of the ONNX nodes.
        read, written: bytes through the memory port: weights, and what it loads and stores.
        descriptors: of both queues.
    """

    name: str
    nodes: tuple[str, ...]
    kind: str
    result: str
    parts: Mapping[str, int]
    macs: int
    read: int
    written: int
    descriptors: int

    @property
    def cycles(self) -> int:
        return sum(self.parts.values())

    def bounds(self, configuration: Configuration, board: Board) -> tuple[float, float]:
        """The roofline: cycles below which the array, and below which the memory, cannot do it."""
        moved = self.read + self.written
        return self.macs / configuration.multipliers, moved / board.bytes_per_cycle(configuration)


@dataclass(frozen=True)
class Activity:
    """One descriptor on the time axis of the whole network.

    Attributes:
        span: what ran, its times shifted to the network's axis.
        layer: index of its layer.
        useful: share of its time in which the array multiplied, idle lanes counted as idle, 0 to 1.
        pipe: share of its time in which the output pipe took results.
        stream: share of the memory's bandwidth that its weights took.
    """

    span: Span
    layer: int
    useful: float
    pipe: float
    stream: float


@dataclass(frozen=True)
class Residency:
    """A buffer in activation memory, from the first access to the last.

    Attributes:
        bank, first, last: bytes ``first`` to ``last`` (excluded) of a bank.
        start, end: cycles on the network's axis.
        tensors: what it holds.
        layer: index of the layer that fills it, or reads it where it is loaded.
        strip: rows of streamed tensors pass through it.
    """

    bank: int
    first: int
    last: int
    start: int
    end: int
    tensors: tuple[str, ...]
    layer: int
    strip: bool


@dataclass(frozen=True)
class HostNode:
    """A node on the host, and why."""

    name: str
    op: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """Everything on the page.

    Attributes:
        summary: the program's figures.
        configuration, board: what it runs on.
        origin: ``estimated`` or ``measured``.
        cycles: of all NPU sections.
        starts: cycle at which each NPU section starts; the host works between them, for a time not shown.
        layers: in order; what remains after the last layer of a section is a layer of its own.
        activities: of both queues.
        ring: level of the weight ring over time, (cycle, bytes).
        residencies: buffers of the activation memory.
        host: nodes on the host.
        read, written: bytes through the memory port.
    """

    summary: Summary
    configuration: Configuration
    board: Board
    origin: str
    cycles: int
    starts: tuple[int, ...]
    layers: tuple[Layer, ...]
    activities: tuple[Activity, ...]
    ring: tuple[tuple[int, int], ...]
    residencies: tuple[Residency, ...]
    host: tuple[HostNode, ...]
    read: int
    written: int

    @property
    def seconds(self) -> float:
        """The NPU's part of the latency."""
        return self.cycles / self.board.clock

    @property
    def utilisation(self) -> float:
        """Multiply-accumulates as a share of what all multipliers could have done, 0 to 1."""
        return self.summary.npu_macs / (self.cycles * self.configuration.multipliers)

    def parts(self) -> dict[str, int]:
        """Cycles of the whole network by what they were spent on."""
        found = {part: sum(layer.parts.get(part, 0) for layer in self.layers) for part in PARTS}
        return {part: cycles for part, cycles in found.items() if cycles}


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
        made = _layers(plan, pairs, start, start + timeline.cycles, timeline.missing)
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


def _layers(plan: Plan, pairs: Sequence[tuple[Task, Span]], start: int, end: int, missing: int) -> list[Layer]:
    multipliers = plan.configuration.multipliers
    parts: list[dict[str, int]] = [dict.fromkeys(PARTS, 0) for _ in plan.operations]
    moved = [[0, 0, 0] for _ in plan.operations]
    for task, span in pairs:
        sums = moved[task.operation]
        sums[0] += span.bytes_read
        sums[1] += span.bytes_written
        sums[2] += 1
    before = start
    last: dict[str, int] = {}
    for task, span in pairs:
        if task.queue != "compute":
            continue
        spent = parts[task.operation]
        spent["idle lanes" if span.array_cycles else "pool"] += span.vectors
        for cause, cycles in span.waits.items():
            spent[cause] += cycles
        spent["transfer"] += span.wait
        gap = span.start - before - span.wait
        spent["between"] += max(0, gap)
        _hide(max(0, -gap), spent, last)
        before, last = span.end, spent
    found = []
    for operation, spent, (read, written, count) in zip(plan.operations, parts, moved, strict=True):
        macs = count_macs(operation, plan.layouts[operation.output].map)
        spent["multiply"] = min(spent["idle lanes"], round(macs / multipliers))
        spent["idle lanes"] -= spent["multiply"]
        used = {part: cycles for part, cycles in spent.items() if cycles}
        result = str(plan.layouts[operation.output].map)
        found.append(
            Layer(operation.name, operation.nodes, _kind(operation), result, used, macs, read, written, count)
        )
    if end > before:
        name, part = (
            (f"{missing} descriptors without a trace", "lost") if missing else ("the last stores", "transfer")
        )
        found.append(Layer(name, (), "", "", {part: end - before}, 0, 0, 0, missing))
    return found


def _hide(cycles: int, spent: dict[str, int], last: dict[str, int]) -> None:
    """Take off what two descriptors did at the same time: one was being filled while the other drained."""
    for parts, cause in ((spent, "fill"), (last, "drain"), (spent, "transfer"), (spent, "lost"), (last, "lost")):
        hidden = min(cycles, parts.get(cause, 0))
        if hidden > 0:
            parts[cause] -= hidden
            cycles -= hidden
    if cycles:
        spent["idle lanes" if spent["idle lanes"] else "pool"] -= cycles


def _kind(operation: Operation) -> str:
    (height, width), strides = operation.window.kernel, operation.window.strides
    text = f"{operation.opcode.name} {height} x {width}"
    if strides != (1, 1):
        text += f" / {strides[0]} x {strides[1]}"
    if operation.group > 1:
        text += f", {operation.group} groups"
    return text + (" + residual" if operation.residual is not None else "")


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
