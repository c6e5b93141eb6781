"""Which configuration of the NPU runs a network fastest on a given part.

The space is searched by what bounds it: arrays from the largest that the part has multipliers for downwards, each
with a weight ring and as much activation memory as the part has blocks for beside it, or less. A share of the
block memory, and of the logic, stays free for the rest of the design. Every candidate is compiled and estimated;
those that their multipliers alone make much slower than the best are left out, and so are those that take more of
the part for next to nothing. Where a ring has room for all weights, they stay in it: the time is that of later
images, and the memory port may be wider than the memory is fast, since the array is fed from the ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from fieldwave.compiler.compiler import compile_network
from fieldwave.compiler.estimate import Memory, NetworkEstimate, estimate_network
from fieldwave.compiler.records import read_records
from fieldwave.errors import InputError, ModelError
from fieldwave.graph import Graph
from fieldwave.npu import Configuration
from fieldwave.npu.parts import Part
from fieldwave.npu.resources import Resources, fits, resources

__all__ = ["Needs", "Tuned", "candidates", "has_room", "tune", "worth_their_size"]

KIB = 1024
ARRAYS = ((8, 8), (16, 8), (16, 16), (32, 16), (32, 32), (64, 32), (64, 64))
PIXEL_LANES = (1, 2, 4)
BANKS = tuple(
    (first * KIB, second * KIB)
    for first, second in (
        (16, 32), (32, 64), (64, 128), (96, 160), (128, 256), (192, 320), (256, 512), (416, 928), (512, 1024),
        (1024, 2048), (2048, 4096), (4096, 8192),
    )
)  # fmt: skip
"""The first tensor of a network is smaller than the second; sizes at which networks begin to fit."""
USUAL = (512 * KIB, 1024 * KIB)
"""Enough for networks of 224 x 224 pixels but VGG; where more would fit, this and all sizes between are tried."""
BESIDE = 0.1
"""Share of block memory and logic that is left to what is beside the NPU: memory controller, host link."""
RINGS = (1024 * KIB, 512 * KIB, 256 * KIB, 128 * KIB, 64 * KIB, 32 * KIB, 16 * KIB)
WIDEST_PORT = 512
"""What a ring that holds all weights feeds the array with, whatever the memory behind it delivers."""
PRESCALED_CHANNELS = 1024
SLOWEST = 2.0
"""An array is left out when its multipliers alone make it so many times slower than the best so far."""
WORTH = 0.01
"""A configuration is left out when one that takes less of the part is at most so much slower."""
GENEROUS = Configuration(64, 64, (4096 * KIB, 8192 * KIB), 1024 * KIB, 128, 64, prescale_words=32)
"""It can run everything; compiled for it, a network shows what units it needs."""


@dataclass(frozen=True)
class Needs:
    """What a network asks of an NPU.

    Attributes:
        lookup: it has tables.
        prescale: it has scale-shifts before convolutions.
        stream_bytes: its weights and parameters.
    """

    lookup: bool
    prescale: bool
    stream_bytes: int


@dataclass(frozen=True)
class Tuned:
    """One configuration, what it takes of the part, and how fast the network is on it.

    Attributes:
        seconds: of one image at the part's clock, on the NPU; where the weights stay in the ring, of a later one.
    """

    configuration: Configuration
    taken: Resources
    estimate: NetworkEstimate
    seconds: float

    @property
    def utilisation(self) -> float:
        """The NPU's multiply-accumulates over what its multipliers could do in that time, 0 to 1."""
        return self.estimate.npu_macs / (self.estimate.later_cycles * self.configuration.multipliers)


def tune(
    graph: Graph,
    target: Part,
    memory: Memory,
    megahertz: float,
    *,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> list[Tuned]:
    """The configurations that fit ``target``, the fastest first, without those that take more for less than 1 %.

    Args:
        graph: a quantized network.
        memory: of the part, in cycles of the clock.
        progress: called with what is being estimated, and the share of the work that is done.

    Raises:
        ModelError: no configuration that fits the part can run the network; the message holds the last reason.
    """
    found: list[Tuned] = []
    reason = "it is too small for the smallest array"
    progress("what the network needs", 0.0)
    needs = _needs(graph)
    todo = list(candidates(target, memory, needs))
    for number, one in enumerate(todo):
        if found and found[0].estimate.npu_macs / one.multipliers > SLOWEST * found[0].estimate.later_cycles:
            continue
        progress(f"{one.input_lanes} x {one.output_lanes} x {one.pixel_lanes}", (number + 1) / (len(todo) + 1))
        try:
            estimate = estimate_network(compile_network(graph, one), one, memory)
        except ModelError as error:
            reason = str(error)
            continue
        seconds = estimate.later_cycles / (megahertz * 1e6)
        found.append(Tuned(one, resources(one, target), estimate, seconds))
        found.sort(key=_rank)
    if not found:
        raise ModelError(f"no NPU that fits {target.name} can run {graph.name}: {reason}")
    return worth_their_size(found)


def worth_their_size(found: Iterable[Tuned]) -> list[Tuned]:
    """Without those that are hardly faster than one that takes no more multipliers and less memory; best first."""
    kept: list[Tuned] = []
    for one in sorted(found, key=lambda one: (one.taken.multipliers, one.taken.memory_bytes)):
        if not any(
            other.taken.memory_bytes <= one.taken.memory_bytes
            and other.estimate.npu_macs >= one.estimate.npu_macs
            and other.seconds <= (1 + WORTH) * one.seconds
            for other in kept
        ):
            kept.append(one)
    return sorted(kept, key=_rank)


def candidates(target: Part, memory: Memory, needs: Needs) -> Iterator[Configuration]:
    """Configurations that fit ``target``, the largest arrays first; smaller rings where they buy larger banks."""
    port = 4
    while port < min(memory.bandwidth or target.port_bytes, target.port_bytes):
        port *= 2
    whole = 1 << (needs.stream_bytes - 1).bit_length()
    shapes = [(rows, columns, lanes) for rows, columns in ARRAYS for lanes in PIXEL_LANES]
    for rows, columns, lanes in sorted(shapes, key=lambda shape: -shape[0] * shape[1] * shape[2]):
        if rows * columns * lanes > target.multipliers * target.products:
            continue
        quarter = rows * columns // 4
        make = partial(
            Configuration, rows, columns, pixel_lanes=lanes, lookup=needs.lookup,
            prescale_words=PRESCALED_CHANNELS // rows if needs.prescale else 0,
        )  # fmt: skip
        if whole > RINGS[0]:
            for wide in sorted({min(port, quarter), min(WIDEST_PORT, quarter)}):
                fitting = (_fitting(target, make, columns, banks, whole, wide) for banks in reversed(BANKS))
                if (one := next((one for one in fitting if one), None)) is not None:
                    yield from _with_less(one)
        largest = 0
        for ring in RINGS:
            for banks in reversed(BANKS):
                if sum(banks) <= largest:
                    break
                if (one := _fitting(target, make, columns, banks, ring, min(port, quarter))) is None:
                    continue
                yield from (one,) if largest else _with_less(one)
                largest = sum(banks)
                break


def _with_less(one: Configuration) -> Iterator[Configuration]:
    """``one``, and before it the same with smaller banks that are usual enough."""
    between = [less for less in BANKS if sum(USUAL) <= sum(less) < sum(one.bank_bytes)]
    yield from (replace(one, bank_bytes=less) for less in between)
    yield one


def _rank(one: Tuned) -> tuple[int, float, int, int]:
    """What the NPU runs all of first; then the fastest, then what takes least."""
    left = one.estimate.macs - one.estimate.npu_macs
    return left, one.seconds, one.taken.multipliers, one.taken.memory_bytes


def _fitting(
    target: Part, make: Callable[..., Configuration], columns: int, banks: tuple[int, int], ring: int, port: int
) -> Configuration | None:
    """With as many requantizers as there are multipliers and logic for; None where there is no room for it."""
    for requantizers in (columns, columns // 2, columns // 4):
        try:
            one = make(bank_bytes=banks, ring_bytes=ring, port_bytes=port, requantizer_lanes=requantizers)
        except InputError:
            continue
        if has_room(one, target):
            return one
    return None


def has_room(configuration: Configuration, target: Part) -> bool:
    """Whether ``configuration`` fits, and leaves some of block memory and logic to the rest of the design."""
    room = 1 - BESIDE
    bits = [max(deep * wide for deep, wide in block.shapes) for block in target.blocks]
    needed = resources(configuration, target)
    taken = sum(count * size for count, size in zip(needed.blocks, bits, strict=True))
    whole = sum(block.count * size for block, size in zip(target.blocks, bits, strict=True))
    enough = needed.logic is None or needed.logic <= room * target.logic
    return fits(configuration, target) and taken <= room * whole and enough


def _needs(graph: Graph) -> Needs:
    compiled = compile_network(graph, GENEROUS)
    operations = [operation for plan in compiled.plans for operation in plan.operations]
    beats = (read_records(image.data, GENEROUS).header["stream_beats"] for image in compiled.images)
    return Needs(
        any(one.table is not None for one in operations),
        any(one.prescale is not None for one in operations),
        sum(beats) * GENEROUS.port_bytes,
    )
