"""Renaming steps leave the list: every step then speaks of the tensor that is really in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fieldwave.compiler.operations import Join, Move, Operation, Step

__all__ = ["resolve"]


def resolve(steps: Sequence[Step]) -> tuple[tuple[Operation | Join, ...], Mapping[str, str]]:
    """The steps that compute or join, and for each renamed tensor the one whose bytes it has."""
    aliases: dict[str, str] = {}

    def real(name: str) -> str:
        return aliases.get(name, name)

    kept: list[Operation | Join] = []
    for step in steps:
        if isinstance(step, Move):
            aliases[step.output] = real(step.input)
        elif isinstance(step, Join):
            kept.append(replace(step, inputs=tuple(real(name) for name in step.inputs)))
        else:
            residual = step.residual and replace(step.residual, tensor=real(step.residual.tensor))
            kept.append(replace(step, input=real(step.input), residual=residual))
    return tuple(kept), aliases
