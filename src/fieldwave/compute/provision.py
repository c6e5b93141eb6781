"""What services need on a cluster: the namespace, the limit of its NPUs, the device plugin."""

from __future__ import annotations

from typing import Any

from fieldwave.compute.cluster import cluster_errors, connect
from fieldwave.compute.compute import Compute
from fieldwave.compute.device_plugin.manifest import PLUGIN_NAME, PLUGIN_NAMESPACE, daemon_set
from fieldwave.errors import ConflictError, InputError

__all__ = ["apply_limit", "provision", "unprovision"]

_OWNER = "fieldwave.dev/compute"
_QUOTA = "fieldwave-npus"
_LABELS = {"app.kubernetes.io/managed-by": "fieldwave"}


def provision(compute: Compute, limit: int | None, image: str) -> None:
    """Make what is not there; see `Computes.create`."""
    from lightkube.resources.apps_v1 import DaemonSet
    from lightkube.resources.core_v1 import Namespace

    _check_limit(limit)
    with connect(compute) as client, cluster_errors(compute):
        if _find(client, Namespace, compute.namespace) is None:
            labels = {**_LABELS, _OWNER: compute.name}
            _apply(client, {"apiVersion": "v1", "kind": "Namespace", **_metadata(compute.namespace, labels)})
        if limit is not None:
            _apply_limit(client, compute, limit)
        if not image:
            return
        there = _find(client, DaemonSet, PLUGIN_NAME, PLUGIN_NAMESPACE)
        if there is not None and (there.metadata.labels or {}).get(_OWNER) not in (None, compute.name):
            return  # another compute target of this cluster has brought it
        plugin = daemon_set(image, resource=compute.resource, node_selector=compute.node_selector)
        plugin["metadata"]["labels"] = {**plugin["metadata"]["labels"], _OWNER: compute.name}
        _apply(client, plugin)


def apply_limit(compute: Compute, limit: int | None) -> None:
    """Set or remove the namespace's ResourceQuota; quotas that others have made stay."""
    _check_limit(limit)
    with connect(compute) as client, cluster_errors(compute):
        _apply_limit(client, compute, limit)


def unprovision(compute: Compute) -> None:
    """Remove what `provision` made for this compute target and nobody else needs.

    Raises:
        ConflictError: the namespace holds pods: whatever they are, they would go with it.
    """
    from lightkube.resources.apps_v1 import DaemonSet
    from lightkube.resources.core_v1 import Namespace, Pod

    with connect(compute) as client, cluster_errors(compute):
        namespace = _find(client, Namespace, compute.namespace)
        owned = namespace is not None and (namespace.metadata.labels or {}).get(_OWNER) == compute.name
        if owned:
            pods = sorted(pod.metadata.name for pod in client.list(Pod, namespace=compute.namespace))
            if pods:
                raise ConflictError(
                    f"namespace {compute.namespace} of cluster {compute.name} still has {len(pods)} pods, "
                    f"{pods[0]} among them; delete them first"
                )
        plugin = _find(client, DaemonSet, PLUGIN_NAME, PLUGIN_NAMESPACE)
        if plugin is not None and (plugin.metadata.labels or {}).get(_OWNER) == compute.name:
            client.delete(DaemonSet, PLUGIN_NAME, namespace=PLUGIN_NAMESPACE)
        if owned:
            client.delete(Namespace, compute.namespace)
        elif namespace is not None:
            _apply_limit(client, compute, None)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise InputError(f"the limit is {limit}; it must be 0 or more NPUs")


def _apply_limit(client: Any, compute: Compute, limit: int | None) -> None:
    from lightkube.resources.core_v1 import ResourceQuota

    if limit is None:
        if _find(client, ResourceQuota, _QUOTA, compute.namespace) is not None:
            client.delete(ResourceQuota, _QUOTA, namespace=compute.namespace)
        return
    labels = {**_LABELS, _OWNER: compute.name}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        **_metadata(_QUOTA, labels, compute.namespace),
        "spec": {"hard": {f"requests.{compute.resource}": str(limit)}},
    }
    _apply(client, quota)


def _find(client: Any, kind: Any, name: str, namespace: str | None = None) -> Any:
    from lightkube.core.exceptions import ApiError

    try:
        return client.get(kind, name, namespace=namespace) if namespace else client.get(kind, name)
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise


def _apply(client: Any, described: dict[str, Any]) -> None:
    from lightkube.codecs import from_dict

    client.apply(from_dict(described))


def _metadata(name: str, labels: dict[str, str], namespace: str = "") -> dict[str, Any]:
    data: dict[str, Any] = {"name": name, "labels": labels}
    return {"metadata": {**data, "namespace": namespace} if namespace else data}
