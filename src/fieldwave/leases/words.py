"""Busy NPUs in words: "2 NPUs, both held by services a and b"."""

from __future__ import annotations

from collections.abc import Sequence

from fieldwave.leases.slots import SlotState

__all__ = ["held_by", "listed"]


def held_by(states: Sequence[SlotState]) -> str:
    """Who holds these slots, all of which are held."""
    names = sorted({state.holder.name for state in states if state.holder is not None})
    service = "services" if len(names) > 1 else "service"
    if len(states) == 1:
        return f"1 NPU ({states[0].slot.name}), held by {service} {listed(names)}"
    both = "both" if len(states) == 2 else "all"
    return f"{len(states)} NPUs, {both} held by {service} {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
