"""The labels and annotations of a service's objects: how people, tools and Fieldwave find them again.

The labels are those that Kubernetes recommends (kubernetes.io, "Recommended Labels").
"""

from __future__ import annotations

import re
from typing import Any

from fieldwave.deploy.kubernetes.spec import ClusterSpec

__all__ = ["MANAGER", "SPEC", "labels", "metadata", "notes", "selector"]

MANAGER = "fieldwave"
"""The value of ``app.kubernetes.io/managed-by``, and the name under which fields are applied."""
SPEC = "fieldwave.dev/spec"
"""The annotation with the `ClusterSpec`."""

_VERSION = re.compile(r":(\d+)@")


def selector(name: str) -> dict[str, str]:
    """What picks a service's pods; it can never change once they are there."""
    return {"app.kubernetes.io/name": MANAGER, "app.kubernetes.io/instance": name}


def labels(spec: ClusterSpec) -> dict[str, str]:
    """On every object."""
    named = {
        **selector(spec.name),
        "app.kubernetes.io/component": "server",
        "app.kubernetes.io/managed-by": MANAGER,
    }
    version = _VERSION.search(spec.model)
    return named | {"app.kubernetes.io/version": version[1]} if version else named


def notes(spec: ClusterSpec) -> dict[str, str]:
    """What the pods serve, for people and for the next update: on the Deployment and on its pods."""
    said = {"package": spec.package, "model": spec.model, "network": spec.network, "device": spec.device}
    return {f"fieldwave.dev/{key}": value for key, value in said.items() if value}


def metadata(spec: ClusterSpec, name: str = "") -> dict[str, Any]:
    """Of an object of the service; it is called as the service if no name is given."""
    data: dict[str, Any] = {"name": name or spec.name}
    if spec.namespace:
        data["namespace"] = spec.namespace
    return data | {"labels": labels(spec)}
