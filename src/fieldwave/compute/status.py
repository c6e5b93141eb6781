"""What a compute target is like now: nothing of it is kept, all of it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ComputeStatus", "Held", "Npus", "State"]

State = Literal["Creating", "Succeeded", "Failed", "Deleting"]


@dataclass(frozen=True)
class Held:
    """NPUs that somebody holds.

    Attributes:
        npu: which, as far as it is known: the slot's name on a machine, the node's in a cluster.
        holder: the service, or ``namespace/pod``.
        count: how many.
        since: when they were taken, ISO 8601 in UTC; empty if that is not known.
    """

    npu: str
    holder: str
    count: int = 1
    since: str = ""


@dataclass(frozen=True)
class Npus:
    """NPUs of a compute target.

    Attributes:
        limit: the most that services there may hold together (a ResourceQuota); None if nobody set one.
        used: how many of those are held.
        allocatable: how many there are, in working order.
        allocated: how many of these somebody holds, whoever it is.
        held: who holds them.
    """

    limit: int | None = None
    used: int = 0
    allocatable: int = 0
    allocated: int = 0
    held: tuple[Held, ...] = ()

    @property
    def free(self) -> int:
        """How many a service could have now."""
        free = max(self.allocatable - self.allocated, 0)
        return free if self.limit is None else min(free, max(self.limit - self.used, 0))


@dataclass(frozen=True)
class ComputeStatus:
    """A compute target now.

    Attributes:
        state: Succeeded when services can be deployed there, Failed when not; Creating and Deleting on the way.
        errors: what is wrong or missing there, each in a line; it may be Succeeded all the same.
        size: what one of its machines is, for people: ``2 cores, 24 GiB``.
        count: how many machines it has that may run services.
        location: where it is, as far as it is known.
        npus: its NPUs; None where they cannot be asked for.
    """

    state: State
    errors: tuple[str, ...] = ()
    size: str = ""
    count: int = 0
    location: str = ""
    npus: Npus | None = None
