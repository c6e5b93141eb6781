"""Who holds a cluster's NPUs, and what to do about it."""

from __future__ import annotations

from fieldwave.compute.status import Npus
from fieldwave.leases.words import listed

__all__ = ["oldest_services", "why_not_free"]


def why_not_free(npus: Npus | None, wanted: int) -> str:
    """Why so many NPUs are not to be had now, in words; empty if they are, or if nobody may know."""
    if npus is None or not wanted or npus.free >= wanted:
        return ""
    if npus.limit is not None and wanted <= npus.allocatable - npus.allocated:
        return f"the namespace may hold {_count(npus.limit)}, and holds {npus.used}"
    if not npus.allocatable:
        return "no node has an NPU in working order"
    return f"{_count(npus.allocatable)}, {_held(npus)}"


def oldest_services(npus: Npus, wanted: int) -> list[str]:
    """The services of the namespace that have held NPUs longest, as many as have to go; none if that cannot do."""
    free, chosen = npus.free, []
    for one in sorted(npus.held, key=lambda one: one.since):
        if free >= wanted:
            break
        if "/" not in one.holder:  # what is of another namespace is not ours to end
            free += one.count
            if one.holder not in chosen:
                chosen.append(one.holder)
    return chosen if free >= wanted else []


def _held(npus: Npus) -> str:
    names = sorted({one.holder for one in npus.held})
    if not names:
        return "none of them held"
    share = {1: "", 2: "both "}.get(npus.allocatable, "all ")
    if npus.allocated < npus.allocatable:
        share = f"{npus.allocated} of them "
    return f"{share}held by {'services' if len(names) > 1 else 'service'} {listed(names)}"


def _count(number: int) -> str:
    return f"{number} NPU{'s' if number != 1 else ''}"
