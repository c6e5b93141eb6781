"""What keeps a service available: how many pods may be away for maintenance, and how many it has under load."""

from __future__ import annotations

from typing import Any

from fieldwave.deploy.kubernetes.labels import metadata, selector
from fieldwave.deploy.kubernetes.offers import Offers
from fieldwave.deploy.kubernetes.spec import ClusterSpec

__all__ = ["disruption_budget", "pod_autoscaler"]


def disruption_budget(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    """At most one pod may be taken away at a time; with a single one, nodes can still be drained."""
    budget: dict[str, Any] = {"maxUnavailable": 1, "selector": {"matchLabels": selector(spec.name)}}
    if offers.version >= (1, 27):
        # A pod that does not answer is no reason to keep its node from being drained.
        budget["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(spec),
        "spec": budget,
    }


def pod_autoscaler(spec: ClusterSpec) -> dict[str, Any]:
    """More pods while they are busy, one at a time; fewer after five quiet minutes.

    Busy by the processors' use; or by a metric of the pods, which the cluster must serve (custom.metrics.k8s.io,
    as Prometheus' adapter does): a processor that waits for an NPU is not busy.
    """
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(spec),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name},
            "minReplicas": spec.replicas,
            "maxReplicas": spec.most_replicas,
            "metrics": [_metric(spec)],
            "behavior": {
                "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]},
                "scaleDown": {"stabilizationWindowSeconds": 300},
            },
        },
    }


def _metric(spec: ClusterSpec) -> dict[str, Any]:
    if spec.scale_on:
        name, _, value = spec.scale_on.partition("=")
        target = {"type": "AverageValue", "averageValue": value}
        return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}
    use = {"type": "Utilization", "averageUtilization": spec.utilization}
    return {"type": "Resource", "resource": {"name": "cpu", "target": use}}
