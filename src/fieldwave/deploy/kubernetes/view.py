"""A service on a cluster as it is seen from outside."""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass
from typing import Any

from fieldwave.compute.cluster_status import cluster_status
from fieldwave.deploy.kubernetes.forward import forward_if_outside
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
    place = _at_gateway(objects, spec)
    host, port = place.address if place else (f"{spec.name}.{objects.compute.namespace}.svc", GRPC_PORT)
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
        certificate=place.trusted if place else _certificate(objects, spec),
        encrypted=place.encrypted if place else bool(spec.tls_secret),
        way=None if place else functools.partial(forward_if_outside, objects, spec.name, host),
    )


@dataclass(frozen=True)
class _Place:
    """A Gateway's listener: host and port, whether it ends TLS, and what clients trust besides the system's."""

    address: tuple[str, int]
    encrypted: bool
    trusted: str


def _at_gateway(objects: Objects, spec: ClusterSpec) -> _Place | None:
    """The listener that routes to the service; None if there is no Gateway, or nobody knows its address yet."""
    gateway = objects.gateway(spec.gateway) if spec.gateway else None
    if gateway is None:
        return None
    addresses = (gateway.get("status") or {}).get("addresses") or []
    listeners = [one for one in gateway["spec"]["listeners"] if one["protocol"] in ("HTTPS", "HTTP")]
    listeners.sort(key=lambda one: one["protocol"] != "HTTPS")
    if not addresses or not listeners:
        return None
    listener = listeners[0]
    encrypted = listener["protocol"] == "HTTPS"
    named = (listener.get("tls") or {}).get("certificateRefs") or [] if encrypted else []
    own = spec.gateway.rpartition("/")[0] or None
    found = (_in_secret(objects, one["name"], one.get("namespace") or own, "ca.crt") for one in named)
    place = str(addresses[0]["value"]), int(listener["port"])
    return _Place(place, encrypted, next(filter(None, found), ""))


def _certificate(objects: Objects, spec: ClusterSpec) -> str:
    """What clients trust: the authority beside the certificate, else the certificate itself; empty without TLS."""
    return _in_secret(objects, spec.tls_secret, None, "ca.crt", "tls.crt") if spec.tls_secret else ""


def _in_secret(objects: Objects, name: str, namespace: str | None, *keys: str) -> str:
    """The first of these that a Secret has; empty where it is not there yet, or this user may not see it."""
    try:
        data = objects.secret(name, namespace).data or {}
        return base64.b64decode(next(filter(None, map(data.get, keys)), "")).decode()
    except (FieldwaveError, ValueError):
        return ""
