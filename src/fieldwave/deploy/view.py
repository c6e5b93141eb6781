"""What a service's files say, as people are told: one state, and the reason in words."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fieldwave.deploy.port import near
from fieldwave.deploy.state import Life, ReplicaStatus, ServiceFolder, Spec, Status
from fieldwave.deploy.target import Replicas, Service, State, Target
from fieldwave.errors import StorageError
from fieldwave.processes.ours import is_ours

__all__ = ["view"]

_STARTS = "it starts"
# The gravest first: of several replicas that do not serve, the first that fits says what the service's state is.
_STATES: dict[Life, State] = {
    "Waiting": "Unschedulable",
    "Failed": "Failed",
    "Unhealthy": "Unhealthy",
    "Restarting": "Transitioning",
    "Starting": "Transitioning",
    "Stopped": "Transitioning",
}


def view(folder: ServiceFolder, target: Target) -> Service | None:
    """The service in ``folder``; None if it is being deleted just now."""
    # The lock first: a supervisor writes its last status before it lets go.
    alive = folder.is_alive
    try:
        spec, status = folder.read_spec(), folder.read_status()
    except FileNotFoundError:
        return None
    except StorageError as error:
        return Service(folder.name, "Failed", "", 0, None, 0, "", "", "", "", str(error), target)
    replicas = _replicas(folder, spec, status, alive)
    state, reason = _state(folder, spec, status, replicas, alive)
    # While it goes, or when it is gone, it is not asked any more.
    ready = sum(replica.life == "Healthy" for replica in replicas)
    ports = [replica.port for replica in replicas if replica.port] or [spec.port]
    return Service(
        name=folder.name,
        state=state,
        host=spec.host,
        port=spec.port,
        pid=replicas[0].pid if replicas else None,
        restarts=sum(replica.restarts for replica in status.replicas) if status else 0,
        package=spec.package,
        network=spec.network,
        device=spec.device,
        created=spec.created,
        reason=reason,
        target=target,
        replicas=Replicas(spec.replicas, ready),
        addresses=tuple(f"{near(spec.host)}:{port}" for port in ports),
        model=spec.model,
        image=spec.image,
        secure=spec.keys,
        certificate=_certificate(spec),
        follow=True,
        http=tuple(
            f"{'https' if spec.tls_cert else 'http'}://{near(spec.host)}:{replica.http_port}"
            for replica in replicas
            if replica.http_port
        ),
        socket=spec.socket,
        also=tuple(shared.network for shared in spec.also),
        also_models=tuple(shared.model for shared in spec.also if shared.model),
    )


def _certificate(spec: Spec) -> str:
    try:
        return Path(spec.ca).read_text() if spec.ca else ""
    except (OSError, ValueError):
        return "(cannot be read)"  # which no client takes for one; without it, it would speak in plain text


def _replicas(folder: ServiceFolder, spec: Spec, status: Status | None, alive: bool) -> list[ReplicaStatus]:
    if status is None:
        return [ReplicaStatus(spec.port)]
    if not alive:
        return [replace(replica, life="Stopped", pid=None) for replica in status.replicas]
    return [_checked(folder, status.supervisor, replica) for replica in status.replicas]


def _checked(folder: ServiceFolder, supervisor: int, replica: ReplicaStatus) -> ReplicaStatus:
    """Healthy only if that process is there: its supervisor may be unable to write a newer status."""
    if replica.life != "Healthy" or replica.pid is None:
        return replica
    with suppress(ProcessLookupError, PermissionError):
        if not is_ours(folder.path, supervisor):
            return replica  # it runs on another machine, where we cannot look
        with suppress(ProcessLookupError):
            if is_ours(folder.path, replica.pid):
                return replica
        return replace(replica, life="Restarting", pid=None, reason=f"process {replica.pid} has ended")
    return replica


def _state(
    folder: ServiceFolder, spec: Spec, status: Status | None, replicas: Sequence[ReplicaStatus], alive: bool
) -> tuple[State, str]:
    if not alive:
        if status is not None and status.stopped:
            return "Stopped", ""
        return "Failed", (
            f"its supervisor is gone; delete it and deploy again: fieldwave services delete {folder.name}"
        )
    if status is not None and status.changing:
        return "Transitioning", f"it {status.changing}"
    ready = sum(replica.life == "Healthy" for replica in replicas)
    if ready == len(replicas) == spec.replicas:
        return "Healthy", ""
    state, reason = _worst(replicas)
    if spec.replicas > 1:
        reason = f"{ready} of {spec.replicas} replicas are ready; {reason}"
    if ready and state == "Failed":
        state = "Unhealthy"
    return state, reason


def _worst(replicas: Sequence[ReplicaStatus]) -> tuple[State, str]:
    for life, state in _STATES.items():
        for replica in replicas:
            if replica.life == life:
                return state, (replica.reason or _STARTS) if life != "Starting" else _STARTS
    return "Transitioning", _STARTS
