"""The HorizontalPodAutoscaler by processors' use, as kubernetes.io, "Horizontal Pod Autoscaling" describes it."""

from __future__ import annotations

import math

from tests.cluster.kubelet import is_ready
from tests.cluster.state import Cluster, Object, age, now

__all__ = ["autoscale"]

_TOLERANCE = 0.1


def autoscale(cluster: Cluster, scaler: Object) -> None:
    """One look at the pods, and at most one change of the Deployment's replicas."""
    spec, namespace = scaler["spec"], scaler["metadata"]["namespace"]
    deployment = cluster.find("Deployment", spec["scaleTargetRef"]["name"], namespace)
    ready = [pod for pod in cluster.pods(deployment) if is_ready(pod)] if deployment else []
    if not ready:
        return
    (metric,) = spec["metrics"]
    asked = [_processors(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"]) for pod in ready]
    use = 100 * sum(map(cluster.kubelet.usage, ready)) / sum(asked)
    aim = metric["resource"]["target"]["averageUtilization"]
    current = deployment["spec"]["replicas"]
    wanted = current if abs(use / aim - 1) <= _TOLERANCE else math.ceil(len(ready) * use / aim)
    wanted = min(max(wanted, spec["minReplicas"]), spec["maxReplicas"])
    status = scaler.setdefault("status", {})
    if wanted < current:
        quiet = spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
        status.setdefault("quietSince", now())
        wanted = wanted if age(status["quietSince"]) >= quiet else current
    else:
        status.pop("quietSince", None)
    if wanted > current:
        (policy,) = spec["behavior"]["scaleUp"]["policies"]
        paused = "lastScaleTime" not in status or age(status["lastScaleTime"]) >= policy["periodSeconds"]
        wanted = min(wanted, current + policy["value"]) if paused else current
    status |= {"currentReplicas": current, "desiredReplicas": wanted}
    status["currentMetrics"] = [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": round(use)}}}
    ]
    if wanted != current:
        status["lastScaleTime"] = now()
        cluster.merge("Deployment", deployment["metadata"]["name"], {"spec": {"replicas": wanted}}, namespace)


def _processors(text: str) -> float:
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)
