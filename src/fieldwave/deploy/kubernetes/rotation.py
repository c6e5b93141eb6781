"""The keys of a service on a cluster: reading them, and putting a new one into the place of one."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime

from fieldwave.deploy.kubernetes.objects import Objects, spec_of
from fieldwave.deploy.kubernetes.secret import keys_of
from fieldwave.errors import ConflictError, HostError, InputError
from fieldwave.keys import KeyName, Keys

__all__ = ["read_keys", "regenerate_key"]

_RETRIES = 5


def read_keys(objects: Objects, name: str) -> Keys:
    """The keys that open a service.

    Raises:
        NotFoundError: no service of that name, or it has lost its Secret.
        InputError: callers of it need no key.
    """
    secret = _secret_name(objects, name)
    return keys_of(secret, objects.secret(secret).data)


def regenerate_key(objects: Objects, name: str, which: KeyName) -> Keys:
    """Put a new key into the place of one, and return both.

    The service's pods see the change within seconds. Of two callers at the same time each has their change, or an
    error.

    Raises:
        ConflictError: somebody else changes them over and over.
    """
    secret_name = _secret_name(objects, name)
    for _ in range(_RETRIES):
        secret = objects.secret(secret_name)
        keys = keys_of(secret_name, secret.data).regenerated(which)
        data = {which: base64.b64encode(getattr(keys, which).encode()).decode()}
        change = {"metadata": {"resourceVersion": secret.metadata.resourceVersion}, "data": data}
        try:
            objects.merge("v1", "Secret", secret_name, change)
        except ConflictError:
            continue
        _hurry(objects, name)
        return keys
    raise ConflictError(f"the keys of service {name!r} are being changed by somebody else; try again")


def _secret_name(objects: Objects, name: str) -> str:
    spec = spec_of(objects.deployment(name))
    if not spec.keys:
        raise InputError(f"service {name!r} has no keys, whoever reaches it may call it")
    return spec.keys_secret


def _hurry(objects: Objects, name: str) -> None:
    """The kubelet looks at the Secrets of a pod that changes at once, not within the minute."""
    change = {"metadata": {"annotations": {"fieldwave.dev/keys-changed": datetime.now(UTC).isoformat()}}}
    for pod in objects.pods(name):
        with suppress(HostError, ConflictError):
            objects.merge("v1", "Pod", pod.metadata.name, change)
