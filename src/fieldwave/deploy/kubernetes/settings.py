"""What may be said about a service on a cluster besides what is said about any service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.errors import InputError

__all__ = ["SETTINGS", "check_encrypted", "parse_settings", "spec_with"]

SETTINGS: Mapping[str, type] = {
    "clients": tuple,
    "client_ca": bool,
    "cpus": str,
    "gateway": str,
    "host_address": str,
    "host_port": int,
    "http": bool,
    "memory": str,
    "most_replicas": int,
    "npus": int,
    "pull_secret": str,
    "scale_on": str,
    "startup_seconds": int,
    "tls_secret": str,
    "utilization": int,
}
"""The attributes of `ClusterSpec` that are for the user to choose, each with its type."""


def spec_with(spec: ClusterSpec, settings: Mapping[str, Any]) -> ClusterSpec:
    """The description with these settings.

    Raises:
        InputError: there is no such setting, or a value cannot be.
    """
    for name in settings:
        if name not in SETTINGS:
            raise InputError(f"a cluster has no setting {name!r}; there are: {', '.join(SETTINGS)}, registry")
    return replace(spec, **settings)


def check_encrypted(spec: ClusterSpec) -> None:
    """Raises InputError when callers would have to send their keys over a connection that anybody can read."""
    if spec.keys and not spec.tls_secret and not spec.gateway:
        raise InputError(
            f"service {spec.name!r} would take keys in the open: name the Secret of its certificate "
            "(tls_secret=NAME), let a Gateway end TLS (gateway=NAMESPACE/NAME), or say that it may be open to all"
        )


def parse_settings(given: list[str]) -> dict[str, Any]:
    """Settings from texts ``NAME=VALUE``; several clients are separated by commas.

    Raises:
        InputError: no such setting, or a value of another type.
    """
    settings: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or name not in {*SETTINGS, "registry"}:
            raise InputError(
                f"{one!r} is no setting of a cluster: NAME=VALUE with {', '.join(SETTINGS)}, registry"
            )
        settings[name] = _value(name, text)
    return settings


def _value(name: str, text: str) -> Any:
    kind = SETTINGS.get(name, str)
    if kind is tuple:
        return tuple(filter(None, text.split(",")))
    if kind is bool:
        if text not in ("true", "false"):
            raise InputError(f"{name} is {text!r}, expected true or false")
        return text == "true"
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{name} is {text!r}, expected a whole number") from None
