"""Which configuration of the NPU runs a network fastest on a given part.

The space is searched by what bounds it: arrays from the largest that the part has multipliers for downwards, each
with a weight ring and as much activation memory as the part has blocks for beside it, or less. A share of the
block memory stays free for the rest of the design. Every candidate is compiled and estimated; those that their
multipliers alone make much slower than the best are left out, and so are those that take more of the part for
next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from fieldwave.compiler.compiler import compile_network
from fieldwave.compiler.estimate import Memory, NetworkEstimate, estimate_network
from fieldwave.errors import InputError, ModelError
from fieldwave.graph import Graph
from fieldwave.npu import Configuration
from fieldwave.npu.parts import Part
from fieldwave.npu.resources import Resources, fits, resources

__all__ = ["Tuned", "candidates", "has_room", "tune", "worth_their_size"]

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
"""Share of the block memory that is left to what is beside the NPU: memory controller, host link."""
RINGS = (1024 * KIB, 512 * KIB, 256 * KIB, 128 * KIB, 64 * KIB, 32 * KIB, 16 * KIB)
PRESCALED_CHANNELS = 1024
SLOWEST = 2.0
"""An array is left out when its multipliers alone make it so many times slower than the best so far."""
WORTH = 0.01
"""A configuration is left out when one that takes less of the part is at most so much slower."""
GENEROUS = Configuration(64, 64, (4096 * KIB, 8192 * KIB), 1024 * KIB, 128, 64, prescale_words=32)
"""It can run everything; compiled for it, a network shows what units it needs."""


@dataclass(frozen=True)
class Tuned:
    """One configuration, what it takes of the part, and how fast the network is on it.

    Attributes:
        seconds: of one image at the part's clock, on the NPU.
    """

    configuration: Configuration
    taken: Resources
    estimate: NetworkEstimate
    seconds: float


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
    lookup, prescale = _needs(graph)
    todo = list(candidates(target, memory, lookup=lookup, prescale=prescale))
    for number, one in enumerate(todo):
        if found and found[0].estimate.npu_macs / one.multipliers > SLOWEST * found[0].estimate.cycles:
            continue
        progress(f"{one.input_lanes} x {one.output_lanes} x {one.pixel_lanes}", (number + 1) / (len(todo) + 1))
        try:
            estimate = estimate_network(compile_network(graph, one), one, memory)
        except ModelError as error:
            reason = str(error)
            continue
        found.append(Tuned(one, resources(one, target), estimate, estimate.seconds(megahertz)))
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


def candidates(target: Part, memory: Memory, *, lookup: bool, prescale: bool) -> Iterator[Configuration]:
    """Configurations that fit ``target``, the largest arrays first; smaller rings where they buy larger banks."""
    port = 4
    while port < min(memory.bandwidth or target.port_bytes, target.port_bytes):
        port *= 2
    shapes = [(rows, columns, lanes) for rows, columns in ARRAYS for lanes in PIXEL_LANES]
    for rows, columns, lanes in sorted(shapes, key=lambda shape: -shape[0] * shape[1] * shape[2]):
        if rows * columns * lanes > target.multipliers * target.products:
            continue
        words = PRESCALED_CHANNELS // rows if prescale else 0
        largest = 0
        for ring in RINGS:
            for banks in reversed(BANKS):
                if sum(banks) <= largest:
                    break
                make = partial(
                    Configuration, rows, columns, banks, ring, min(port, rows * columns // 4),
                    pixel_lanes=lanes, lookup=lookup, prescale_words=words,
                )  # fmt: skip
                if (one := _fitting(target, make, columns)) is None:
                    continue
                if not largest:
                    between = [less for less in BANKS if sum(USUAL) <= sum(less) < sum(banks)]
                    yield from (replace(one, bank_bytes=less) for less in between)
                largest = sum(banks)
                yield one
                break


def _rank(one: Tuned) -> tuple[int, float, int, int]:
    """What the NPU runs all of first; then the fastest, then what takes least."""
    left = one.estimate.macs - one.estimate.npu_macs
    return left, one.seconds, one.taken.multipliers, one.taken.memory_bytes


def _fitting(target: Part, make: Callable[..., Configuration], columns: int) -> Configuration | None:
    """With as many requantizers as there are multipliers for; None where there is no room for it."""
    for requantizers in (columns, columns // 2, columns // 4):
        try:
            one = make(requantizer_lanes=requantizers)
        except InputError:
            continue
        if has_room(one, target):
            return one
    return None


def has_room(configuration: Configuration, target: Part) -> bool:
    """Whether ``configuration`` fits, and leaves some of the block memory to the rest of the design."""
    bits = [max(deep * wide for deep, wide in block.shapes) for block in target.blocks]
    taken = sum(count * size for count, size in zip(resources(configuration, target).blocks, bits, strict=True))
    whole = sum(block.count * size for block, size in zip(target.blocks, bits, strict=True))
    return fits(configuration, target) and taken <= (1 - BESIDE) * whole


def _needs(graph: Graph) -> tuple[bool, bool]:
    """Whether the network has tables, and whether it has scale-shifts before convolutions."""
    plans = compile_network(graph, GENEROUS).plans
    operations = [operation for plan in plans for operation in plan.operations]
    return any(one.table is not None for one in operations), any(one.prescale is not None for one in operations)
