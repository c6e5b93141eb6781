"""Operations whose tensors do not stay on the chip: cut into strips of output rows.

A tensor that is *streamed* lives in memory. An operation that reads it loads the rows that a strip needs into a
buffer of that strip's own, one that makes it stores the rows of each strip; the next strip's rows arrive and the
last one's leave while this one is computed. Every strip reads the weights again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.pooled import results_needed

__all__ = ["Role", "Strip", "convolved", "cut", "operands", "rows", "slab_words"]

Role = Literal["input", "residual", "output"]
SHORT = 4
"""The part of a strip that is loaded before anything is computed."""


@dataclass(frozen=True)
class Strip:
    """Output rows ``first`` to ``last`` (excluded); words of the output where an operation sums words.

    Attributes:
        continues: with a fused pool, what the strip before it has left in the output is still there.
    """

    first: int
    last: int
    continues: bool = False

    @property
    def height(self) -> int:
        return self.last - self.first


def operands(operation: Operation) -> Iterator[tuple[Role, str]]:
    """What an operation reads and writes."""
    yield "input", operation.input
    if operation.residual is not None:
        yield "residual", operation.residual.tensor
    yield "output", operation.output


def convolved(operation: Operation, strip: Strip) -> tuple[int, int]:
    """The rows of results that a strip computes, the last excluded: those of its output, or of its windows."""
    if operation.sums_words:
        return 0, 1
    if operation.pool is None:
        return strip.first, strip.last
    window, height = operation.pool.window, operation.pool.source.height
    first, last = results_needed(window, 0, height, strip.first, strip.last)
    if strip.continues and strip.first:
        first = results_needed(window, 0, height, 0, strip.first)[1]
    return first, last


def rows(operation: Operation, role: Role, height: int, strip: Strip) -> tuple[int, int]:
    """The rows of an operand of ``height`` rows that a strip touches, the last excluded."""
    if role == "output":
        return (0, 1) if operation.sums_words else (strip.first, strip.last)
    if role == "residual":
        assert operation.residual is not None
        stride = operation.residual.stride[0]
        return strip.first * stride, (strip.last - 1) * stride + 1
    stride, above = operation.window.strides[0], operation.window.pads[0]
    begin, end = convolved(operation, strip)
    first = begin * stride - above
    last = (end - 1) * stride - above + operation.window.reach(0)
    # A strip may lie in the padding altogether; it then holds one row, which is not read.
    start = min(max(0, first), height - 1)
    return start, max(start + 1, min(height, last))


def slab_words(operation: Operation, role: Role, layout: Layout, strip: Strip) -> tuple[int, int]:
    """How many words of a streamed operand's pixels a strip needs, and which of them is the first."""
    if role == "input" and operation.sums_words:
        return strip.height, strip.first
    return layout.own_pitch, 0


def cut(
    operation: Operation,
    layouts: Mapping[str, Layout],
    streamed: Collection[str],
    count: int,
    *,
    short_first: bool = False,
) -> tuple[Strip, ...]:
    """About ``count`` strips, evenly high; where ``short_first``, the first is cut once more, to begin early."""
    output = layouts[operation.output]
    height = output.words if operation.sums_words else output.map.height
    each = -(-height // max(1, min(count, height)))
    starts = list(range(0, height, each))
    if short_first and len(starts) > 1 and each > 1:
        starts.insert(1, -(-each // SHORT))
    continues = operation.pool is not None and operation.output not in streamed
    return tuple(Strip(start, end, continues) for start, end in pairwise((*starts, height)))
