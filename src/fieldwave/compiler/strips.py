"""Operations whose tensors do not stay on the chip: cut into strips of output rows.

A tensor that is *streamed* lives in memory. An operation that reads it loads the rows that a strip needs into a
buffer of its own, one that makes it stores the rows of each strip; there are two buffers where there are several
strips, so that the next strip's rows arrive while this one is computed. Every strip reads the weights again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fieldwave.compiler.layout import Layout
from fieldwave.compiler.operations import Operation
from fieldwave.compiler.pooled import results_needed

__all__ = ["Role", "Strip", "convolved", "cut", "operands", "rows"]

Role = Literal["input", "residual", "output"]


@dataclass(frozen=True)
class Strip:
    """Output rows ``first`` to ``last`` (excluded).

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
        return strip.first, strip.last
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


def cut(
    operation: Operation, layouts: Mapping[str, Layout], streamed: Collection[str], room: int
) -> tuple[Strip, ...]:
    """The fewest strips whose streamed operands take at most ``room`` words, evenly high; one row at least."""
    height = layouts[operation.output].map.height
    moving = [(role, layouts[name]) for role, name in operands(operation) if name in streamed]

    def words(most: int) -> int:
        copies = 1 if most >= height else 2
        total = 0
        for role, layout in moving:
            first, last = rows(operation, role, layout.map.height, Strip(0, most))
            margin = _margin(operation) if role == "input" else 0
            total += copies * min(layout.map.height, last - first + margin) * layout.row_step
        return total

    low, high = 1, height
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if words(middle) <= room else (low, middle - 1)
    count = -(-height // low)
    each = -(-height // count)
    continues = operation.pool is not None and operation.output not in streamed
    return tuple(Strip(start, min(height, start + each), continues) for start in range(0, height, each))


def _margin(operation: Operation) -> int:
    """Input rows that the first strip does not need, because it begins in the padding."""
    stride = operation.window.strides[0]
    return operation.window.pads[0] + (operation.pool.window.pads[0] * stride if operation.pool else 0)
