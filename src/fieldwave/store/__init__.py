"""One content-addressed store for models, packages, images and their logs: a folder, or an OCI registry."""

from __future__ import annotations

from fieldwave.store.content import Descriptor, Manifest
from fieldwave.store.copy import copy
from fieldwave.store.layout import LayoutStore
from fieldwave.store.opening import open_store
from fieldwave.store.protocol import Artifact, Layer, NextTag, Store, Stored, Tagged
from fieldwave.store.remote import RegistryStore

__all__ = [
    "Artifact",
    "Descriptor",
    "Layer",
    "LayoutStore",
    "Manifest",
    "NextTag",
    "RegistryStore",
    "Store",
    "Stored",
    "Tagged",
    "copy",
    "open_store",
]
