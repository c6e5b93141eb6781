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
    """More pods while the processors are busy, one at a time; fewer after five quiet minutes."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(spec),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": spec.name},
            "minReplicas": spec.replicas,
            "maxReplicas": spec.most_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": spec.utilization},
                    },
                }
            ],
            "behavior": {
                "scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 30}]},
                "scaleDown": {"stabilizationWindowSeconds": 300},
            },
        },
    }
