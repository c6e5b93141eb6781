"""What the report draws: layers, activities, buffers, and what they stand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fieldwave.compiler import Summary
from fieldwave.compiler.timeline import CAUSES, Span
from fieldwave.npu import Configuration

__all__ = ["PARTS", "Activity", "Board", "Facts", "HostNode", "Layer", "Residency"]

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
