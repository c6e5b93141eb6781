"""How callers reach a service's pods, and who may."""

from __future__ import annotations

from typing import Any

from fieldwave.deploy.kubernetes.labels import metadata, selector
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.images.inside import GRPC_PORT, HTTP_PORT
from fieldwave.wire.methods import ROUTE_KEY, ROUTE_PREFIX

__all__ = ["grpc_route", "network_policy", "service"]


def service(spec: ClusterSpec) -> dict[str, Any]:
    """A headless Service: its name resolves to the pods themselves.

    gRPC keeps one connection for all calls. Behind a virtual address they would all go to one pod.
    """
    port: dict[str, Any] = {"name": "grpc", "port": GRPC_PORT, "protocol": "TCP", "targetPort": "grpc"}
    if not spec.tls_secret:
        port["appProtocol"] = "kubernetes.io/h2c"
    http = {"name": "http", "port": HTTP_PORT, "protocol": "TCP", "targetPort": "http"}
    ports = [port, {**http, "appProtocol": "https" if spec.tls_secret else "http"}] if spec.http else [port]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(spec),
        "spec": {"clusterIP": "None", "selector": selector(spec.name), "ports": ports},
    }


def network_policy(spec: ClusterSpec) -> dict[str, Any]:
    """Callers from the service's own namespace, its Gateway's, and those that are named; nothing goes out.

    A service fetches nothing, not even a name. The kubelet's probes come from the pod's own node, which no policy
    holds up.
    """
    ports = [GRPC_PORT, HTTP_PORT] if spec.http else [GRPC_PORT]
    rule: dict[str, Any] = {"ports": [{"protocol": "TCP", "port": port} for port in ports]}
    if "*" not in spec.clients:
        others = {*spec.clients, *([spec.gateway.split("/")[0]] if spec.gateway else [])}
        rule["from"] = [{"podSelector": {}}, *({"namespaceSelector": _namespace(name)} for name in sorted(others))]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(spec),
        "spec": {
            "podSelector": {"matchLabels": selector(spec.name)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [rule],
            "egress": [],
        },
    }


def grpc_route(spec: ClusterSpec) -> dict[str, Any]:
    """From a Gateway to the service by the header that says its name: many services behind one port."""
    namespace, _, name = spec.gateway.rpartition("/")
    parent = {"name": name, "namespace": namespace} if namespace else {"name": name}
    header = {"type": "Exact", "name": ROUTE_KEY, "value": f"{ROUTE_PREFIX}{spec.name}"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GRPCRoute",
        "metadata": metadata(spec),
        "spec": {
            "parentRefs": [parent],
            "rules": [
                {"matches": [{"headers": [header]}], "backendRefs": [{"name": spec.name, "port": GRPC_PORT}]}
            ],
        },
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}
