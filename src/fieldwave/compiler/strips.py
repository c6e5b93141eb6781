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

__all__ = ["Role", "Strip", "cut", "operands", "rows"]

Role = Literal["input", "residual", "output"]


@dataclass(frozen=True)
class Strip:
    """Output rows ``first`` to ``last`` (excluded)."""

    first: int
    last: int

    @property
    def height(self) -> int:
        return self.last - self.first


def operands(operation: Operation) -> Iterator[tuple[Role, str]]:
    """What an operation reads and writes."""
    yield "input", operation.input
    if operation.residual is not None:
        yield "residual", operation.residual.tensor
    yield "output", operation.output


def rows(operation: Operation, role: Role, height: int, strip: Strip) -> tuple[int, int]:
    """The rows of an operand of ``height`` rows that a strip touches, the last excluded."""
    if role == "output":
        return strip.first, strip.last
    if role == "residual":
        assert operation.residual is not None
        stride = operation.residual.stride[0]
        return strip.first * stride, (strip.last - 1) * stride + 1
    stride, above = operation.window.strides[0], operation.window.pads[0]
    first = strip.first * stride - above
    last = (strip.last - 1) * stride - above + operation.window.reach(0)
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
            margin = operation.window.pads[0] if role == "input" else 0
            total += copies * min(layout.map.height, last - first + margin) * layout.row_step
        return total

    low, high = 1, height
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if words(middle) <= room else (low, middle - 1)
    count = -(-height // low)
    each = -(-height // count)
    return tuple(Strip(start, min(height, start + each)) for start in range(0, height, each))
