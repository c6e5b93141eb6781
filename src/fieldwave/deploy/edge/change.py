"""Changing what a box runs, and knowing the outcome whatever happens to the link meanwhile."""

from __future__ import annotations

import time

from fieldwave.deploy.edge.box import Box
from fieldwave.deploy.edge.condition import Condition, condition
from fieldwave.deploy.edge.record import Record, read_records
from fieldwave.errors import ConflictError, HostError, ServiceError
from fieldwave.ssh import ConnectionLost

__all__ = ["await_ready", "play", "remove"]

_SETTLED_SECONDS = 320.0
_POLL_SECONDS = 0.5
_DRAIN_SECONDS = 15


def play(box: Box, mode: str, record: Record, files: bytes) -> str:
    """Have the box make a change: ``fresh``, ``update``, or ``undo`` of that one; what to know of it, if anything.

    Raises:
        HostError: the link broke before the box had begun, or did not come back in time.
        ServiceError: podman failed; what was before runs on.
        ConflictError: somebody else has changed the service.
    """
    try:
        return box.play(mode, record.name, record.token, files)
    except ConnectionLost as lost:
        # Once begun, the box goes on without us.
        box.call("settled", timeout=_SETTLED_SECONDS)
        there = read_records(box.listed(record.name), box.name)
        done = bool(there) and (there[0].token == record.token) is (mode != "undo")
        if not done:
            raise HostError(f"{lost}; nothing was changed, and the same command can be given again") from None
        return ""


def await_ready(box: Box, record: Record, timeout: float) -> None:
    """Return when the service is healthy, as it was changed by ``record``.

    Raises:
        ServiceError: it failed, or took longer than ``timeout`` seconds.
        ConflictError: somebody else has changed or deleted it meanwhile.
        HostError: the box cannot be reached any more.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = _condition(box, record)
        if found.state == "Healthy":
            return
        if found.state == "Failed":
            raise ServiceError(found.reason)
        if time.monotonic() > deadline:
            raise ServiceError(f"it was not ready within {timeout:g} s: {found.reason}")
        time.sleep(_POLL_SECONDS)


def remove(box: Box, name: str, timeout: float) -> None:
    """Stop a service and remove all of it.

    Raises:
        NotFoundError: there is none of that name.
        ServiceError: podman cannot remove it.
        HostError: the box cannot be reached.
    """
    box.call("stop", name, str(max(1, min(_DRAIN_SECONDS, int(timeout)))), timeout=timeout + 60)


def _condition(box: Box, record: Record) -> Condition:
    listed = box.listed(record.name)
    there = read_records(listed, box.name)
    if not there:
        raise ConflictError(f"service {record.name!r} on {box.name} was deleted by somebody else")
    if there[0].token != record.token:
        raise ConflictError(f"service {record.name!r} on {box.name} was changed by {there[0].by} meanwhile")
    return condition(box, record, listed.containers.get(record.container), listed.time)
