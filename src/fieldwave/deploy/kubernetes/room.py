"""NPUs for a service that is about to be deployed."""

from __future__ import annotations

from collections.abc import Callable

from fieldwave.compute.cluster_status import cluster_status
from fieldwave.deploy.kubernetes.holders import oldest_services, why_not_free
from fieldwave.deploy.kubernetes.objects import Objects
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.deploy.target import WhenBusy
from fieldwave.errors import DeviceBusyError

__all__ = ["make_room"]


def make_room(objects: Objects, spec: ClusterSpec, when_busy: WhenBusy, note: Callable[[str], None]) -> None:
    """Before anything is started: see to it that there are NPUs for it, as far as this user may see that.

    With ``replace``, the services of the namespace that have held theirs longest are scaled to 0, as many as it
    takes; with ``wait`` that is the scheduler's business.

    Raises:
        DeviceBusyError: there are not enough; the message says who holds them.
    """
    wanted = spec.held_npus * spec.replicas
    if not wanted or when_busy == "wait":
        return
    npus = cluster_status(objects.compute).npus
    most = npus.allocatable // spec.held_npus if npus is not None else 0
    if npus is not None and npus.allocatable and spec.most_replicas > most:
        note(
            f"most_replicas is {spec.most_replicas}, and the cluster has NPUs for {most}: more pods than that wait"
        )
    reason = why_not_free(npus, wanted)
    if npus is None or not reason:
        return
    going = oldest_services(npus, wanted) if when_busy == "replace" else []
    if not going:
        raise DeviceBusyError(
            f"service {spec.name!r} needs {wanted} NPU{'s' if wanted > 1 else ''}: {reason}; "
            "scale or delete a service, or wait for it: --when-busy wait"
        )
    for name in going:
        note(f"service {name} is stopped: {spec.name} takes its NPU")
        objects.merge("apps/v1", "Deployment", name, {"spec": {"replicas": 0}})
