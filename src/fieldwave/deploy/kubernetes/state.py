"""What a Deployment and its pods say about the state of the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fieldwave.deploy.kubernetes.pod import CONTAINER
from fieldwave.deploy.target import Replicas, State

__all__ = ["Seen", "look"]

_UNABLE = {
    "ErrImagePull": "its image cannot be pulled",
    "ImagePullBackOff": "its image cannot be pulled",
    "InvalidImageName": "its image has no valid name",
    "CreateContainerConfigError": "its container cannot be made",
    "CreateContainerError": "its container cannot be made",
    "RunContainerError": "its container cannot be started",
    "CrashLoopBackOff": "it keeps dying",
}
_LONGEST = 300


@dataclass(frozen=True)
class Seen:
    """What was seen.

    Attributes:
        reason: why it is in that state, one line; empty when Healthy or Stopped.
        restarts: how often containers of the pods that are there were started again.
    """

    state: State
    reason: str
    replicas: Replicas
    restarts: int


def look(deployment: Any, pods: Iterable[Any]) -> Seen:
    """The state of a service.

    Parameters:
        deployment: lightkube's ``apps_v1.Deployment``.
        pods: its pods, ``core_v1.Pod``; those that are going are not counted.
    """
    alive = [pod for pod in pods if pod.metadata.deletionTimestamp is None]
    status = deployment.status
    wanted = deployment.spec.replicas if deployment.spec.replicas is not None else 1
    ready = (status.readyReplicas if status else None) or 0
    state, reason = _state(deployment, alive, wanted, ready)
    restarts = sum(one.restartCount for pod in alive for one in _containers(pod))
    return Seen(state, _line(reason), Replicas(wanted, ready), restarts)


def _state(deployment: Any, pods: list[Any], wanted: int, ready: int) -> tuple[State, str]:
    if wanted == 0:
        return "Stopped", ""
    if _is_rolled_out(deployment, wanted):
        return "Healthy", ""
    answering = f"{ready} of {wanted} replicas answer"
    # A start that lies further back than the description of the service says nothing about it.
    current = _is_current(deployment)
    for reason in filter(None, map(_unschedulable, pods)) if current else ():
        return "Unschedulable", reason
    trouble = next(filter(None, map(_trouble, pods)), "") or _refused(deployment) if current else ""
    if "exceeded quota" in trouble:
        return "Unschedulable", trouble
    if trouble:
        return ("Unhealthy", f"{answering}; {trouble}") if ready else ("Failed", trouble)
    if any(map(_is_silent, pods)):
        return "Unhealthy", f"{answering}; one does not say that it is ready"
    if current and _condition(deployment, "Progressing", "False"):
        return ("Unhealthy" if ready else "Failed"), f"{answering}, and no more became ready in time"
    return "Transitioning", answering


def _is_current(deployment: Any) -> bool:
    """Whether the controller has seen the description as it is now."""
    return (
        bool(deployment.status) and (deployment.status.observedGeneration or 0) >= deployment.metadata.generation
    )


def _is_rolled_out(deployment: Any, wanted: int) -> bool:
    status = deployment.status
    counts = (status.updatedReplicas, status.replicas, status.availableReplicas) if status else ()
    return _is_current(deployment) and counts == (wanted, wanted, wanted)


def _unschedulable(pod: Any) -> str:
    for one in _conditions(pod):
        if one.type == "PodScheduled" and one.status == "False" and one.reason == "Unschedulable":
            return f"no node can take it: {one.message}"
    return ""


def _trouble(pod: Any) -> str:
    for one in _containers(pod):
        waiting = one.state.waiting if one.state else None
        if waiting is not None and waiting.reason in _UNABLE:
            detail = _last_words(one) if waiting.reason == "CrashLoopBackOff" else waiting.message
            return f"{_UNABLE[waiting.reason]}: {detail or waiting.message or waiting.reason}"
    return ""


def _last_words(container: Any) -> str:
    """How it ended, and the last line of its log, which Kubernetes keeps as the termination message."""
    ended = container.lastState.terminated if container.lastState else None
    if ended is None:
        return ""
    how = f"exit code {ended.exitCode}" if ended.reason in (None, "Error", "Completed") else f"{ended.reason}"
    lines = (ended.message or "").strip().splitlines()
    return f"{how}: {lines[-1]}" if lines else how


def _refused(deployment: Any) -> str:
    """Why no pod could be made: a quota, or an admission policy."""
    return next((one.message or "" for one in _condition(deployment, "ReplicaFailure", "True")), "")


def _is_silent(pod: Any) -> bool:
    """Whether it has started and does not answer its readiness probe."""
    return any(one.name == CONTAINER and one.started and not one.ready for one in _containers(pod))


def _condition(deployment: Any, name: str, status: str) -> list[Any]:
    return [one for one in _conditions(deployment) if (one.type, one.status) == (name, status)]


def _conditions(one: Any) -> Iterator[Any]:
    yield from (one.status.conditions if one.status else None) or ()


def _containers(pod: Any) -> Iterator[Any]:
    yield from (pod.status.containerStatuses if pod.status else None) or ()


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
