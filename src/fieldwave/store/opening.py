"""A store by its address."""

from __future__ import annotations

from pathlib import Path

from fieldwave.store.layout import LayoutStore
from fieldwave.store.protocol import Store
from fieldwave.store.remote import RegistryStore

__all__ = ["open_store"]


def open_store(address: str) -> Store:
    """The store in a folder, or with ``oci://HOST/PREFIX`` in a registry; a folder need not exist yet."""
    return RegistryStore(address) if address.startswith("oci://") else LayoutStore(Path(address))
