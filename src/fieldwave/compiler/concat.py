"""Concatenation without copying: what is joined is written to its place from the start.

A joined tensor is one buffer whose pixels are as wide as all its parts together; each part begins at a word. An
operation writes its part with the buffer's step between pixels. A part that is needed in two buffers, or that
comes from outside, is copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fieldwave.compiler.operations import Join, Operation
from fieldwave.golden import Window
from fieldwave.npu.isa import Opcode

__all__ = ["copy_shared_parts"]


def copy_shared_parts(steps: Sequence[Operation | Join]) -> tuple[Operation | Join, ...]:
    """Insert copies until every part belongs to one join and is made by an operation or another join."""
    uses = Counter(name for step in steps if isinstance(step, Join) for name in step.inputs)
    made = {step.output for step in steps}
    taken: set[str] = set()
    result: list[Operation | Join] = []
    for step in steps:
        if isinstance(step, Operation):
            result.append(step)
            continue
        parts = []
        for index, name in enumerate(step.inputs):
            if name in made and (uses[name] == 1 or name not in taken):
                taken.add(name)
                parts.append(name)
                continue
            copy = f"{step.output}/part_{index}"
            # The largest of one byte is that byte.
            result.append(Operation((step.node,), Opcode.MAX, name, copy, Window((1, 1))))
            parts.append(copy)
        result.append(Join(step.node, tuple(parts), step.output))
    return tuple(result)
