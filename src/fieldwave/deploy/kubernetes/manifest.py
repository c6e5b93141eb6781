"""From what a service is to be to the objects that make it so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fieldwave.deploy.kubernetes.availability import disruption_budget, pod_autoscaler
from fieldwave.deploy.kubernetes.network import grpc_route, network_policy, service
from fieldwave.deploy.kubernetes.offers import EVERYTHING, Offers
from fieldwave.deploy.kubernetes.secret import keys_secret
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.deploy.kubernetes.workload import deployment
from fieldwave.keys import Keys

__all__ = ["Manifest", "make_manifest", "with_replicas"]


@dataclass(frozen=True)
class Manifest:
    """The objects of one service, as Kubernetes' JSON has them, in the order in which they are to be applied.

    Attributes:
        objects: each with its apiVersion, kind and metadata.
        warnings: what was left out because the cluster does not offer it, and what follows, a line each.
    """

    objects: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = ()


def make_manifest(spec: ClusterSpec, offers: Offers = EVERYTHING, keys: Keys | None = None) -> Manifest:
    """The manifest of a service.

    Parameters:
        spec: what it is to be.
        offers: what the cluster knows; every kind, if nothing is said.
        keys: the service's keys; without them the Secret is left out, and has to be there before the pods.
    """
    objects = [service(spec)]
    warnings: list[str] = []
    if keys is not None and spec.keys and not spec.claims:
        objects.append(keys_secret(spec, keys))
    if offers.has("networking.k8s.io/v1", "NetworkPolicy"):
        objects.append(network_policy(spec))
    else:
        warnings.append("the cluster has no NetworkPolicy: whoever reaches the pods may call them")
    if offers.has("policy/v1", "PodDisruptionBudget"):
        objects.append(disruption_budget(spec, offers))
    else:
        warnings.append("the cluster has no policy/v1: a drain may take all replicas away at the same time")
    objects.append(deployment(spec, offers))
    if spec.most_replicas:
        if offers.has("autoscaling/v2", "HorizontalPodAutoscaler"):
            objects.append(pod_autoscaler(spec))
        else:
            warnings.append(f"the cluster has no autoscaling/v2: there will be {spec.replicas} replicas, always")
    if spec.gateway:
        if offers.has("gateway.networking.k8s.io/v1", "GRPCRoute"):
            objects.append(grpc_route(spec))
        else:
            warnings.append(
                "the cluster has no GRPCRoute: install Gateway API 1.1 or later to call through a Gateway"
            )
    if offers.version < (1, 21) and (spec.gateway or set(spec.clients) - {"*"}):
        warnings.append(
            "the cluster does not label namespaces by itself: label those of callers and of the Gateway"
        )
    if offers.version < (1, 24):
        warnings.append("the cluster has no probes by gRPC: a pod counts as ready when its port is open")
    return Manifest(tuple(objects), tuple(warnings))


def with_replicas(manifest: Manifest, replicas: int) -> Manifest:
    """The manifest of a service that the cluster scales, with the number of pods that it has now.

    Who applies nothing where he has applied a number before takes it away, and the server puts 1 in its place. The
    autoscaler then begins there.
    """
    return replace(manifest, objects=tuple(_with_replicas(one, replicas) for one in manifest.objects))


def _with_replicas(one: dict[str, Any], replicas: int) -> dict[str, Any]:
    if one["kind"] != "Deployment" or "replicas" in one["spec"]:
        return one
    return one | {"spec": {"replicas": replicas, **one["spec"]}}
