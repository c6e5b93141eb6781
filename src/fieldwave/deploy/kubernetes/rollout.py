"""Waiting until a service is as it was asked to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fieldwave.deploy.target import Service, State
from fieldwave.errors import HostError, ServiceError

__all__ = ["Patience", "wait_for_rollout"]


@dataclass(frozen=True)
class Patience:
    """How long to look on, in seconds.

    Attributes:
        state: how long it may be in a state that may yet turn out well: an image may be there at the next try, a
            pod that goes may free what the next one needs.
        poll: between two looks.
        silence: how long the cluster may not answer; its own servers are replaced one after the other, too.
    """

    state: Mapping[State, float] = field(
        default_factory=lambda: {"Failed": 15.0, "Unhealthy": 45.0, "Unschedulable": 15.0}
    )
    poll: float = 0.5
    silence: float = 60.0


def wait_for_rollout(
    look: Callable[[], Service],
    timeout: float,
    *,
    until_schedulable: bool = False,
    patience: Patience,
    progress: Callable[[str, float], None],
) -> Service:
    """The service once it is Healthy, or Stopped.

    Parameters:
        look: the service as it is now.
        until_schedulable: wait for a device for as long as the time allows.
        progress: called with what is waited for, and the part of the replicas that answers, when that changes.

    Raises:
        ServiceError: it will not become Healthy, or was not within ``timeout`` seconds; the message is the reason.
        HostError: the cluster has not answered for a while.
    """
    deadline = time.monotonic() + timeout
    since, said, last = time.monotonic(), "", None
    while (service := _seen(look, patience)).state not in ("Healthy", "Stopped"):
        now = time.monotonic()
        if service.state != last:
            since, last = now, service.state
        if (line := f"{service.name} is {service.state}: {service.reason}") != said:
            said = line
            progress(line, service.replicas.ready / max(service.replicas.wanted, 1))
        limit = patience.state.get(service.state)
        if limit is not None and now - since >= limit and not (until_schedulable and last == "Unschedulable"):
            raise ServiceError(service.reason)
        if now >= deadline:
            raise ServiceError(f"not ready within {timeout:g} s; {service.reason}")
        time.sleep(min(patience.poll, max(deadline - now, 0.0)))
    return service


def _seen(look: Callable[[], Service], patience: Patience) -> Service:
    """The service; a cluster that does not answer is asked again for a while."""
    deadline = time.monotonic() + patience.silence
    while True:
        try:
            return look()
        except HostError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(patience.poll)
