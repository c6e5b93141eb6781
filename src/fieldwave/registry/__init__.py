"""The model registry: names, integer versions and what is said about them, over a content-addressed store."""

from __future__ import annotations

from fieldwave.registry.model import RegisteredModel
from fieldwave.registry.registry import Registry

__all__ = ["RegisteredModel", "Registry"]
