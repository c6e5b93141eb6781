"""The DaemonSet that runs the device plugin on every node with NPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieldwave.compute.compute import RESOURCE
from fieldwave.compute.device_plugin.run import KUBELET_FOLDER, POD_RESOURCES

__all__ = ["PLUGIN_NAME", "PLUGIN_NAMESPACE", "daemon_set"]

PLUGIN_NAME = "fieldwave-device-plugin"
PLUGIN_NAMESPACE = "kube-system"

_ROOT = "/host"
# What the plugin sees of its node: name, path there and here, whether it may write, what the path has to be. Not
# /dev at /dev: there a container runtime makes files of its own.
_VOLUMES = (
    ("kubelet", str(KUBELET_FOLDER), str(KUBELET_FOLDER), True, "Directory"),
    ("pods", str(POD_RESOURCES.parent), str(POD_RESOURCES.parent), False, "DirectoryOrCreate"),
    ("devices", "/dev", f"{_ROOT}/dev", False, "Directory"),
    ("settings", "/etc/fieldwave", "/etc/fieldwave", False, "DirectoryOrCreate"),
    ("leases", "/run/lock/fieldwave", "/run/lock/fieldwave", True, "DirectoryOrCreate"),
)


def daemon_set(
    image: str,
    *,
    namespace: str = PLUGIN_NAMESPACE,
    resource: str = RESOURCE,
    node_selector: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The DaemonSet, as plain data; ``apps/v1``, the same from Kubernetes 1.20 to 1.37.

    The plugin needs root's file rights on the node's folder of sockets, and nothing else: no privileges, no
    capability, no rights in the cluster, no network, no token.

    Parameters:
        image: any image with Fieldwave in it, such as a service's; best by its digest.
        resource: what it advertises.
        node_selector: labels of the nodes that it runs on; all if there are none.
    """
    labels = {"app.kubernetes.io/name": PLUGIN_NAME, "app.kubernetes.io/managed-by": "fieldwave"}
    selector = {"app.kubernetes.io/name": PLUGIN_NAME}
    pod: dict[str, Any] = {
        "priorityClassName": "system-node-critical",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        # A node that is kept for NPUs has a taint against everybody else.
        "tolerations": [{"key": resource, "operator": "Exists"}],
        "containers": [_container(image, resource)],
        "volumes": [
            {"name": name, "hostPath": {"path": there, "type": kind}} for name, there, _, _, kind in _VOLUMES
        ],
    }
    if node_selector:
        pod["nodeSelector"] = dict(node_selector)
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": PLUGIN_NAME, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": selector},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _container(image: str, resource: str) -> dict[str, Any]:
    return {
        "name": "device-plugin",
        "image": image,
        "command": ["python3", "-m", "fieldwave", "device-plugin", "run", "--resource", resource, "--root", _ROOT],
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [
            {"name": name, "mountPath": here, "readOnly": not writes} for name, _, here, writes, _ in _VOLUMES
        ],
    }
