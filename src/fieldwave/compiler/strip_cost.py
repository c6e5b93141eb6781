"""How many strips an operation is best cut into, by the cycles that it takes.

More strips begin earlier and need less room; fewer read the weights less often, have fuller blocks of pixels and
fewer descriptors to begin and end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.strips import Strip, convolved, cut, operands, rows, slab_words
from fieldwave.compiler.tile import array_cycles, tile
from fieldwave.npu import Configuration
from fieldwave.npu.isa import Opcode

__all__ = ["best_count", "counts", "most_strips", "strip_cycles"]

MEMORY_SHARE = 0.75
"""Part of the port's width that memory is expected to deliver."""
HIDDEN = 0.05
"""What reading weights once more costs where it overlaps: of the time that it takes."""
TURN = 100
"""Cycles from the last vector of a descriptor to the first of the next, about."""


def counts(height: int) -> list[int]:
    """Numbers of strips that differ in the height of a strip."""
    return sorted({-(-height // each) for each in range(1, height + 1)})


def best_count(
    operation: Operation, layouts: Mapping[str, Layout], streamed: Collection[str], configuration: Configuration
) -> int:
    """The number of strips that takes the fewest cycles; one where nothing is streamed."""
    if not any(name in streamed for _, name in operands(operation)):
        return 1
    most = most_strips(operation, layouts, configuration)
    return min(counts(most), key=lambda count: strip_cycles(operation, layouts, streamed, count, configuration))


def most_strips(operation: Operation, layouts: Mapping[str, Layout], configuration: Configuration) -> int:
    """The most strips into which an operation can be cut: rows, or words that begin at a beat in memory."""
    output = layouts[operation.output]
    if operation.sums_words:
        return output.words if configuration.input_lanes % configuration.port_bytes == 0 else 1
    return output.map.height


def strip_cycles(
    operation: Operation,
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    count: int,
    configuration: Configuration,
) -> float:
    """Cycles of an operation in strips: its computing or its transfers, and what nothing overlaps with."""
    strips = cut(operation, layouts, streamed, count)
    bandwidth = configuration.port_bytes * MEMORY_SHARE
    first, *_ = strips
    computing = sum(
        times * _computing(operation, strip, layouts, configuration) for strip, times in _alike(operation, strips)
    )
    moving = sum(_bytes(operation, strip, layouts, streamed, configuration) for strip in strips)
    ends = _bytes(operation, first, layouts, streamed, configuration)
    weights = len(strips) * _weights(operation, first, layouts, configuration)
    hidden = HIDDEN * weights / bandwidth
    return max(computing, (moving + weights) / bandwidth) + ends / bandwidth + len(strips) * TURN + hidden


def _alike(operation: Operation, strips: tuple[Strip, ...]) -> Iterator[tuple[Strip, int]]:
    """Strips that differ in height, and how often they occur."""
    heights: dict[int, tuple[Strip, int]] = {}
    for strip in strips:
        first, last = convolved(operation, strip)
        heights[last - first] = strip, heights.get(last - first, (strip, 0))[1] + 1
    yield from heights.values()


def _computing(
    operation: Operation, strip: Strip, layouts: Mapping[str, Layout], configuration: Configuration
) -> int:
    tiling = tile(operation, strip, layouts, configuration)
    return sum(array_cycles(operation, tiling, run, configuration) for run in tiling.runs)


def _weights(
    operation: Operation, strip: Strip, layouts: Mapping[str, Layout], configuration: Configuration
) -> int:
    """Bytes of weights that a strip reads."""
    if operation.opcode != Opcode.CONV:
        return 0
    tiling = tile(operation, strip, layouts, configuration)
    taps = operation.window.kernel[0] * operation.window.kernel[1]
    size = configuration.tile_beats * configuration.port_bytes
    return sum(
        run.tiles * taps * run.input_words * size * (tiling.blocks if repeat else 1)
        for run, repeat in zip(tiling.runs, tiling.repeat, strict=True)
    )


def _bytes(
    operation: Operation,
    strip: Strip,
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    configuration: Configuration,
) -> int:
    """Bytes that a strip loads and stores."""
    total = 0
    for role, name in operands(operation):
        if name in streamed:
            layout = layouts[name]
            first, last = rows(operation, role, layout.map.height, strip)
            words = slab_words(operation, role, layout, strip)[0]
            total += (last - first) * layout.map.width * words * configuration.input_lanes
    return total
