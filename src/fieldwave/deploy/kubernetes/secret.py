"""The Secret with a service's two keys."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from fieldwave.deploy.kubernetes.labels import metadata
from fieldwave.deploy.kubernetes.spec import ClusterSpec
from fieldwave.errors import StorageError
from fieldwave.keys import Keys

__all__ = ["keys_of", "keys_secret"]


def keys_secret(spec: ClusterSpec, keys: Keys) -> dict[str, Any]:
    """The Secret; pods see a change of it as files that change, within a minute or so."""
    data = {name: base64.b64encode(getattr(keys, name).encode()).decode() for name in ("primary", "secondary")}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(spec, spec.keys_secret),
        "type": "Opaque",
        "data": data,
    }


def keys_of(name: str, data: Mapping[str, str] | None) -> Keys:
    """The keys in the ``data`` of such a Secret.

    Raises:
        StorageError: it holds no keys.
    """
    try:
        values = [
            base64.b64decode((data or {})[key], validate=True).decode().strip() for key in ("primary", "secondary")
        ]
        return Keys(*values)
    except (KeyError, ValueError):
        raise StorageError(f"the Secret {name!r} does not hold two keys, 'primary' and 'secondary'") from None
