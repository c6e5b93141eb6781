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
_PLUGIN_GROUP = "client.authentication.k8s.io"
_PLUGIN_INFO = "KUBERNETES_EXEC_INFO"


def connect(compute: Compute) -> Any:
    """A ``lightkube.Client`` for the cluster, its context and namespace; nothing is asked of the server yet.

    Close it, or use it as a context manager.

    Raises:
        MissingExtraError: lightkube is not installed.
        InputError: the kubeconfig file is not there or damaged, or has no such context.
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
    path = Path(compute.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    if not path.is_file():
        raise InputError(f"there is no kubeconfig file {path}; name one with --kubeconfig, or set KUBECONFIG")
    try:
        return KubeConfig.from_file(path), Client
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
