"""Where the pixel lanes begin: each takes a run of consecutive output pixels of a descriptor.

With several pixel lanes one tile of weights is multiplied with several pixels at once. Lane 0 takes the first
``lane_pixels`` output pixels, counted row by row, lane 1 the next, and so on; the last may take fewer, and lanes
from ``lanes`` on none. So a lane is a machine with one pixel lane that begins elsewhere, and only that is computed
here: the compiler gives the way from one lane's first pixel to the next one's, in rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Const, Module, Mux, Signal

from fieldwave.npu.config import Configuration
from fieldwave.npu.pipeline import register

__all__ = ["LaneStart", "begin", "lane_start"]


@dataclass(frozen=True)
class LaneStart:
    """A lane's first output pixel: its row and column, and where it lies behind the first pixel of all, in words:
    its row's first pixel, and itself."""

    line: Any
    column: Any
    row: Any
    offset: Any


def lane_start(m: Module, compute: Any, lane: int, *, x_step: Any, y_step: Any) -> LaneStart:
    """The start of ``lane`` in a tensor, as many cycles after the descriptor as there are lanes, at the latest."""
    if lane == 0:
        return LaneStart(Const(0, 16), Const(0, 16), Const(0, 24), Const(0, 24))
    line: Any = Const(0, 16)
    column: Any = Const(0, 16)
    for _ in range(lane):
        forward = (column + compute.lane_columns)[:17]
        wraps = forward >= compute.output_width
        column = register(m, Mux(wraps, forward - compute.output_width, forward)[:16])
        line = register(m, (line + compute.lane_rows + wraps)[:16])
    row = register(m, (line * y_step)[:24])
    offset = register(m, (line * y_step + column * x_step)[:24])
    return LaneStart(line, column, row, offset)


def begin(m: Module, configuration: Configuration, start: Any) -> tuple[Any, Any]:
    """``start`` when the lanes' starts are known, and whether that is still to come."""
    cycles = configuration.pixel_lanes if configuration.pixel_lanes > 1 else 0
    if not cycles:
        return start, Const(0)
    coming = Signal(cycles)
    m.d.sync += coming.eq((coming << 1) | start)
    return coming[-1], start | coming.any()
