"""The Deployment: how many pods, and how new ones take the place of old ones."""

from __future__ import annotations

from typing import Any

from fieldwave.deploy.kubernetes.labels import SPEC, metadata, notes, selector
from fieldwave.deploy.kubernetes.offers import Offers
from fieldwave.deploy.kubernetes.pod import pod_template
from fieldwave.deploy.kubernetes.spec import ClusterSpec

__all__ = ["deployment"]

_PULL_SECONDS = 300


def deployment(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    """The Deployment, with the `ClusterSpec` as an annotation."""
    wanted: dict[str, Any] = {
        "selector": {"matchLabels": selector(spec.name)},
        "strategy": _strategy(spec),
        "minReadySeconds": 2,
        "progressDeadlineSeconds": spec.startup_seconds + _PULL_SECONDS,
        "revisionHistoryLimit": 3,
        "template": pod_template(spec, offers),
    }
    if not _scales_itself(spec, offers):
        wanted = {"replicas": spec.replicas, **wanted}
    said = {"kubernetes.io/change-cause": _cause(spec), **notes(spec), SPEC: spec.to_json()}
    data = metadata(spec) | {"annotations": said}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": data, "spec": wanted}


def _strategy(spec: ClusterSpec) -> dict[str, Any]:
    if spec.replicas > 1 or spec.most_replicas:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    if spec.held_npus or spec.host_port:
        # A second pod beside the first would wait for ever for the NPU, or the port, that the first one holds.
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _cause(spec: ClusterSpec) -> str:
    """What ``kubectl rollout history`` shows."""
    return f"{spec.model.partition('@')[0] or spec.image} on {spec.device}"


def _scales_itself(spec: ClusterSpec, offers: Offers) -> bool:
    """Then the number of pods is the autoscaler's, and an update must not set it back."""
    return bool(spec.most_replicas) and offers.has("autoscaling/v2", "HorizontalPodAutoscaler")
