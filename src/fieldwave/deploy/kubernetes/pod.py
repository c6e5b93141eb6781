"""The pod of a service: one container that may do nothing but compute and answer."""

from __future__ import annotations

from typing import Any

from fieldwave.deploy.kubernetes.labels import labels, notes, selector
from fieldwave.deploy.kubernetes.offers import Offers
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.images.inside import GRPC_PORT, HTTP_PORT, KEYS, PROBE_PORT, TLS, USER

__all__ = ["CONTAINER", "pod_template"]

CONTAINER = "server"

_FAREWELL_SECONDS = 5
"""How long a pod serves on after it was told to go: until everybody has heard that it is no endpoint any more."""
_DRAIN_SECONDS = 10
"""What serving gives to requests in hand (`ServeOptions.grace_seconds`)."""
_MARGIN_SECONDS = 5
_STARTUP_PERIOD_SECONDS = 2


def pod_template(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    """The ``template`` of the Deployment."""
    return {
        "metadata": {
            "labels": labels(spec),
            "annotations": {"kubectl.kubernetes.io/default-container": CONTAINER, **notes(spec)},
        },
        "spec": _pod(spec, offers),
    }


def _pod(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # Or a Service called 'fieldwave' would set FIELDWAVE_PORT and more, which are settings of ours.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _FAREWELL_SECONDS + _DRAIN_SECONDS + _MARGIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {"kubernetes.io/os": "linux", **_architecture(spec), **spec.node_selector},
        # With one replica, too: what depends on their number would make every pod start anew when that changes.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(spec.name)},
            }
        ],
        "containers": [_container(spec, offers)],
        "volumes": _volumes(spec),
    }
    if spec.held_npus:
        pod["tolerations"] = [{"key": spec.resource, "operator": "Exists", "effect": "NoSchedule"}]
    if spec.pull_secret:
        pod["imagePullSecrets"] = [{"name": spec.pull_secret}]
    return pod


def _container(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    # Requests and limits are one: the pod is of the class Guaranteed, last to be evicted, never overcommitted.
    resources = {"cpu": spec.cpus, "memory": spec.memory}
    if spec.held_npus:
        resources[spec.resource] = str(spec.held_npus)
    grpc: dict[str, Any] = {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"}
    if spec.host_port:
        grpc["hostPort"] = spec.host_port
        if spec.host_address:
            grpc["hostIP"] = spec.host_address
    http = {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"}
    return {
        "name": CONTAINER,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in _settings(spec).items()],
        # The probes' port is not named: podman would publish it on the machine.
        "ports": [grpc, *([http] if spec.http else [])],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        **_probes(spec, offers),
        # The image need have no shell and no 'sleep'; it has Python.
        "lifecycle": {
            "preStop": {"exec": {"command": ["python3", "-c", f"import time; time.sleep({_FAREWELL_SECONDS})"]}}
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(spec),
    }


def _architecture(spec: ClusterSpec) -> dict[str, str]:
    return {"kubernetes.io/arch": spec.architecture} if spec.architecture else {}


def _settings(spec: ClusterSpec) -> dict[str, str]:
    """The settings of ``fieldwave serve``, whose options they are."""
    settings = {
        "FIELDWAVE_NAME": spec.name,
        "FIELDWAVE_DEVICE": spec.device,
        "FIELDWAVE_HOST": "0.0.0.0",
        "FIELDWAVE_GRPC_PORT": str(GRPC_PORT),
        "FIELDWAVE_PROBE_PORT": str(PROBE_PORT),
    }
    if spec.http:
        settings["FIELDWAVE_HTTP_PORT"] = str(HTTP_PORT)
    if spec.keys:
        settings["FIELDWAVE_KEYS"] = KEYS
    if spec.tls_secret:
        settings["FIELDWAVE_TLS_CERT"] = f"{TLS}/tls.crt"
        settings["FIELDWAVE_TLS_KEY"] = f"{TLS}/tls.key"
    if spec.client_ca:
        settings["FIELDWAVE_CLIENT_CA"] = f"{TLS}/ca.crt"
    if spec.insecure:
        settings["FIELDWAVE_INSECURE"] = "true"
    return settings


def _probes(spec: ClusterSpec, offers: Offers) -> dict[str, Any]:
    """Started: within the time that it takes to program a device. Ready: at once. Alive: after 30 s of silence."""
    # Probes by gRPC are on by default from 1.24 on; a port that is open says less.
    ask = {"grpc": {"port": PROBE_PORT}} if offers.version >= (1, 24) else {"tcpSocket": {"port": PROBE_PORT}}
    tries = -(-spec.startup_seconds // _STARTUP_PERIOD_SECONDS)
    return {
        "startupProbe": {
            **ask,
            "periodSeconds": _STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 2,
            "failureThreshold": tries,
        },
        "readinessProbe": {**ask, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1},
        "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    }


def _volumes(spec: ClusterSpec) -> list[dict[str, Any]]:
    # The names begin with the service's: podman makes volumes of all pods in one place, by these names.
    volumes: list[dict[str, Any]] = [{"name": f"{spec.name}-tmp", "emptyDir": {"sizeLimit": "64Mi"}}]
    if spec.keys:
        volumes.append({"name": "keys", **_content(spec, spec.keys_secret)})
    if spec.tls_secret:
        volumes.append({"name": "tls", **_content(spec, spec.tls_secret)})
    return volumes


def _content(spec: ClusterSpec, name: str) -> dict[str, Any]:
    if spec.claims:
        return {"persistentVolumeClaim": {"claimName": name, "readOnly": True}}
    # 'optional' is said because podman 4.3 crashes where it is not.
    return {"secret": {"secretName": name, "defaultMode": 0o440, "optional": False}}


def _mounts(spec: ClusterSpec) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [{"name": f"{spec.name}-tmp", "mountPath": "/tmp"}]
    # Whole folders: what is mounted by subPath is not renewed when the Secret changes.
    if spec.keys:
        mounts.append({"name": "keys", "mountPath": KEYS, "readOnly": True})
    if spec.tls_secret:
        mounts.append({"name": "tls", "mountPath": TLS, "readOnly": True})
    return mounts
