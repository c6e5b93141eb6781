"""A service on a cluster as it is seen from outside."""

from __future__ import annotations

import base64
from typing import Any

from fieldwave.compute.cluster_status import cluster_status
from fieldwave.deploy.kubernetes.holders import why_not_free
from fieldwave.deploy.kubernetes.objects import Objects, spec_of
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.deploy.kubernetes.state import look
from fieldwave.deploy.target import Service, Target
from fieldwave.errors import FieldwaveError
from fieldwave.images.inside import GRPC_PORT

__all__ = ["view"]


def view(objects: Objects, deployment: Any, target: Target) -> Service:
    """The service that this Deployment runs."""
    spec = spec_of(deployment)
    seen = look(deployment, objects.pods(spec.name))
    host, port = _place(objects, spec)
    reason = seen.reason
    if seen.state == "Unschedulable" and spec.held_npus:
        words = why_not_free(cluster_status(objects.compute).npus, spec.held_npus)
        reason = f"{words} ({reason})" if words else reason
    return Service(
        name=spec.name,
        state=seen.state,
        host=host,
        port=port,
        pid=None,
        restarts=seen.restarts,
        package=spec.package,
        network=spec.network,
        device=spec.device,
        created=deployment.metadata.creationTimestamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
        reason=reason,
        target=target,
        replicas=seen.replicas,
        addresses=(f"{host}:{port}",),
        model=spec.model,
        image=spec.built or spec.image,
        secure=spec.keys,
        certificate=_certificate(objects, spec),
    )


def _certificate(objects: Objects, spec: ClusterSpec) -> str:
    """What clients trust: the authority beside the certificate, else the certificate itself; empty without TLS."""
    if not spec.tls_secret or spec.gateway:
        return ""
    try:
        data = objects.secret(spec.tls_secret).data or {}
        return base64.b64decode(data.get("ca.crt") or data.get("tls.crt") or "").decode()
    except (FieldwaveError, ValueError):
        return ""  # it is not there yet, or this user may not see it


def _place(objects: Objects, spec: ClusterSpec) -> tuple[str, int]:
    """The Gateway's address, where one routes to the service; else its name, which only the cluster resolves."""
    gateway = objects.gateway(spec.gateway) if spec.gateway else None
    if gateway is not None:
        addresses = (gateway.get("status") or {}).get("addresses") or []
        listeners = [one for one in gateway["spec"]["listeners"] if one["protocol"] in ("HTTPS", "HTTP")]
        listeners.sort(key=lambda one: one["protocol"] != "HTTPS")
        if addresses and listeners:
            return str(addresses[0]["value"]), int(listeners[0]["port"])
    return f"{spec.name}.{objects.compute.namespace}.svc", GRPC_PORT
