"""The kinds of a service's objects, as lightkube's client takes them."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["ALL", "kind"]

ALL = (
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Secret"),
    ("v1", "Service"),
)
"""Every kind that a manifest may have, in the order in which they are deleted: what leads to the service first."""

_GATEWAY_API = {"GRPCRoute": "grpcroutes", "Gateway": "gateways"}


@functools.cache
def kind(api_version: str, name: str) -> Any:
    """The class that stands for a kind: one of lightkube's, or a generic one for Gateway API."""
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.resources import apps_v1, autoscaling_v2, core_v1, networking_v1, policy_v1

    group, _, version = api_version.rpartition("/")
    if group == "gateway.networking.k8s.io":
        return create_namespaced_resource(group, version, name, _GATEWAY_API[name])
    modules = {
        "v1": core_v1,
        "apps/v1": apps_v1,
        "autoscaling/v2": autoscaling_v2,
        "networking.k8s.io/v1": networking_v1,
        "policy/v1": policy_v1,
    }
    return getattr(modules[api_version], name)
