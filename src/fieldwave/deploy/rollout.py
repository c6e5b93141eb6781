"""Changing a service that runs, one replica after the other; what does not succeed is taken back.

The steps are generators: each ``yield`` is a moment in which the supervisor looks after everything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator

from fieldwave.deploy.orders import Assignment, Order
from fieldwave.deploy.replica import Replica

__all__ = ["rollout"]

Steps = Generator[None, None, str]
"""In the end: why it did not succeed, or nothing."""

_BACK_SECONDS = 60.0


def rollout(
    replicas: list[Replica],
    old: Assignment,
    new: Assignment,
    wanted: int,
    *,
    make: Callable[[Assignment], Replica],
    number: str,
    timeout: float,
) -> Steps:
    """Have ``wanted`` replicas do what ``new`` says; those in ``replicas`` do what ``old`` says.

    The list is changed as replicas come and go. A replica whose process can go on with the new package does so
    without a restart; another one is started again. Those that are too many go last.
    """
    before = len(replicas)
    deadline = time.monotonic() + timeout
    refused = ""
    assigned = [replica.assignment for replica in replicas]
    if new != old:
        for place, replica in enumerate(replicas[:wanted]):
            assignment = (new.elsewhere() if place else new).where(replica.assignment)
            refused = yield from _move(replica, assignment, number, deadline)
            if refused:
                break
    for _ in range(before, wanted):
        if not refused:
            replicas.append(make(new.elsewhere()))
            refused = yield from _ready(replicas[-1], deadline)
    if refused:
        yield from _remove(replicas, before)
        for replica, before_it in zip(replicas, assigned, strict=True):
            if replica.assignment != before_it:
                yield from _move(replica, before_it, f"{number}.back", time.monotonic() + _BACK_SECONDS)
        return refused
    yield from _remove(replicas, wanted)
    return ""


def _move(replica: Replica, assignment: Assignment, number: str, deadline: float) -> Steps:
    """Have one replica do something else."""
    if replica.runs and replica.assignment.differs_only_in_package(assignment):
        restarts = replica.status.restarts
        replica.order(Order(number, assignment.package))
        while number not in replica.answers:
            if replica.status.restarts != restarts:
                return f"its process died as it took the package: {replica.status.reason}"
            if time.monotonic() >= deadline:
                # It may take it yet, and then nobody would know which one it serves.
                replica.renew(replica.assignment)
                return "it did not take the package in time"
            yield
        refused = replica.answers.pop(number)
        if not refused:
            replica.assignment = assignment
        return refused
    replica.renew(assignment)
    return (yield from _ready(replica, deadline))


def _ready(replica: Replica, deadline: float) -> Steps:
    """Wait until it is ready, or waits for a device that it may wait for."""
    while not replica.runs:
        waits = replica.status.life == "Waiting"
        if waits and replica.assignment.when_busy != "refuse":
            return ""
        if replica.failures:
            return replica.status.reason
        if time.monotonic() >= deadline:
            return "it was not ready in time"
        yield
    return ""


def _remove(replicas: list[Replica], wanted: int) -> Generator[None, None, None]:
    for replica in replicas[wanted:]:
        replica.stop()
    while any(not replica.ended for replica in replicas[wanted:]):
        yield
    del replicas[wanted:]
