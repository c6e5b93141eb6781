"""A connection to a cluster: lightkube's client for a compute target, its errors in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fieldwave.compute.compute import Compute
from fieldwave.errors import FieldwaveError, HostError, InputError, MissingExtraError

__all__ = ["cluster_errors", "connect", "contexts"]

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_MANAGER = "fieldwave"
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PLUGIN_GROUP = "client.authentication.k8s.io"
_PLUGIN_INFO = "KUBERNETES_EXEC_INFO"


def connect(compute: Compute) -> Any:
    """A ``lightkube.Client`` for the cluster, its context and namespace; nothing is asked of the server yet.

    Close it, or use it as a context manager.

    Raises:
        MissingExtraError: lightkube is not installed.
        InputError: the kubeconfig file is not there or damaged, or has no such context.

    Without a kubeconfig file, in a pod, it is the cluster that the pod runs on, as its service account.
    """
    config, client = _kubeconfig(compute)
    try:
        single = config.get(compute.context or None)
    except Exception as error:
        known = ", ".join(sorted(config.contexts)) or "none"
        wanted = f"no context {compute.context!r}" if compute.context else "no current context"
        raise InputError(f"{config.fname} has {wanted} that is complete; its contexts: {known}") from error
    if single.user is not None and single.user.exec is not None:
        _speak_to_plugin(single.user.exec)
    import httpx2

    timeout = httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
    try:
        return client(single, namespace=compute.namespace, field_manager=_MANAGER, timeout=timeout)
    except Exception as error:
        raise InputError(
            f"context {single.context_name} of {config.fname} cannot be used: {_line(error)}"
        ) from error


def contexts(kubeconfig: str = "") -> tuple[str, ...]:
    """The contexts of a kubeconfig file. Raises as `connect`."""
    config, _ = _kubeconfig(Compute("any", "kubernetes", kubeconfig=kubeconfig))
    return tuple(sorted(config.contexts))


@contextmanager
def cluster_errors(compute: Compute) -> Iterator[None]:
    """Within, what the cluster refuses, or that it cannot be reached, is a HostError in one line."""
    import httpx2
    from lightkube.core.exceptions import ApiError, ConfigError

    try:
        yield
    except FieldwaveError:
        raise
    except (ConfigError, OSError) as error:  # of the program that the kubeconfig file names for a token
        raise HostError(f"cluster {compute.name} cannot be asked: {_line(error)}") from error
    except ApiError as error:
        status = error.status
        raise HostError(
            f"cluster {compute.name} refused ({status.code} {status.reason}): {status.message}"
        ) from error
    except httpx2.HTTPStatusError as error:
        raise HostError(f"cluster {compute.name} answered {error.response.status_code}") from error
    except httpx2.HTTPError as error:
        raise HostError(f"cluster {compute.name} cannot be reached: {_line(error)}") from error


def _kubeconfig(compute: Compute) -> tuple[Any, Any]:
    try:
        from lightkube import Client, KubeConfig
    except ImportError:
        raise MissingExtraError("a Kubernetes cluster", "kubernetes") from None
    paths = _paths(compute)
    files = [path for path in paths if path.is_file()]
    if not files and not compute.kubeconfig and not compute.context and (_SERVICE_ACCOUNT / "token").exists():
        return KubeConfig.from_service_account(_SERVICE_ACCOUNT), Client
    if not files:
        tried = " nor ".join(map(str, paths))
        raise InputError(f"there is no kubeconfig file {tried}; name one with --kubeconfig, or set KUBECONFIG")
    found = [_read(path, KubeConfig) for path in files]
    # kubectl merges them; one that is complete in itself is what is found in practice.
    wanted = [one for one in found if (compute.context or one.current_context) in one.contexts]
    return (wanted or found)[0], Client


def _paths(compute: Compute) -> list[Path]:
    """The kubeconfig files in the order in which kubectl looks at them."""
    if compute.kubeconfig:
        return [Path(compute.kubeconfig).expanduser()]
    listed = [one for one in os.environ.get("KUBECONFIG", "").split(os.pathsep) if one]
    return [Path(one).expanduser() for one in listed or ["~/.kube/config"]]


def _read(path: Path, kind: Any) -> Any:
    try:
        return kind.from_file(path)
    except Exception as error:  # YAML, missing keys, wrong types: whatever a damaged file can raise
        raise InputError(f"{path} is no kubeconfig file: {_line(error)}") from error


def _speak_to_plugin(plugin: Any) -> None:
    """Have a credential plugin of ``client.authentication.k8s.io/v1`` answer lightkube, which knows v1beta1.

    The token, all that is read, stands at the same place in both; the plugin is told which one it is to speak.
    """
    from lightkube.config.models import NameValue

    if any(one.name == _PLUGIN_INFO for one in plugin.env or ()):
        return
    said = {"apiVersion": plugin.apiVersion, "kind": "ExecCredential", "spec": {"interactive": False}}
    plugin.env = [*(plugin.env or ()), NameValue(_PLUGIN_INFO, json.dumps(said))]
    if plugin.apiVersion == f"{_PLUGIN_GROUP}/v1":
        plugin.apiVersion = f"{_PLUGIN_GROUP}/v1beta1"


def _line(error: Exception) -> str:
    return " ".join(f"{error}".split()) or type(error).__name__
