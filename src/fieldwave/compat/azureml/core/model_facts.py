"""What a registered model is, under the names that old scripts ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from fieldwave.compat.azureml.core.naming import time_of
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.registry import RegisteredModel, Registry

__all__ = ["LEGACY", "ModelFacts"]

LEGACY = "azureml."
"""Properties that begin so hold what the registry has no place for."""


class ModelFacts:
    """The attributes of a model.

    Attributes:
        workspace: where it is.
    """

    workspace: Workspace
    _model: RegisteredModel

    @property
    def native(self) -> RegisteredModel:
        """The registered model itself."""
        return self._model

    @property
    def name(self) -> str:
        """As it was registered."""
        return self._model.properties.get(f"{LEGACY}name", self._model.name)

    @property
    def version(self) -> int:
        """Counts from 1 for each name."""
        return self._model.version

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"

    @property
    def description(self) -> str | None:
        """What it is."""
        return self._model.description or None

    @property
    def tags(self) -> dict[str, str]:
        """What may change."""
        return dict(self._model.tags)

    @property
    def properties(self) -> dict[str, str]:
        """What stays."""
        return {key: value for key, value in self._model.properties.items() if not key.startswith(LEGACY)}

    @property
    def url(self) -> str:
        """Its bytes, by their digest."""
        return f"aml://asset/{self._model.digest.removeprefix('sha256:')}"

    @property
    def created_time(self) -> datetime:
        """When it was registered, in UTC."""
        return time_of(self._model.created)

    @property
    def mime_type(self) -> str:
        """Of what is stored."""
        return "application/x-tar" if self.unpack else "application/octet-stream"

    @property
    def unpack(self) -> bool:
        """Whether it is a folder."""
        return self._model.kind in ("folder", "saved-model")

    @property
    def parent_id(self) -> str | None:
        """The model that it was converted from."""
        return self._model.source.partition("@")[0] or None

    @property
    def derived_model_ids(self) -> Sequence[str]:
        """The models that were converted from it."""
        start = f"{self._model.id}@"
        return [one.id for one in self._registry.find() if one.source.startswith(start)]

    @property
    def model_framework(self) -> str | None:
        """What it was made with, as said at its registration."""
        return self._model.properties.get(f"{LEGACY}framework")

    @property
    def model_framework_version(self) -> str | None:
        """Its version."""
        return self._model.properties.get(f"{LEGACY}framework_version")

    run_id = experiment_name = created_by = None
    datasets: Mapping[str, object] = {}

    def serialize(self) -> dict[str, Any]:
        """Its attributes, under the names that the retired service used."""
        return {
            "createdTime": self._model.created,
            "createdBy": None,
            "description": self.description,
            "id": self.id,
            "mimeType": self.mime_type,
            "name": self.name,
            "framework": self.model_framework,
            "frameworkVersion": self.model_framework_version,
            "tags": self.tags,
            "properties": self.properties,
            "unpack": self.unpack,
            "url": self.url,
            "version": self.version,
            "experimentName": None,
            "runId": None,
            "runDetails": None,
            "datasets": {},
            "resourceConfiguration": None,
            "sampleInputDatasetId": None,
            "sampleOutputDatasetId": None,
        }

    @property
    def _registry(self) -> Registry:
        return self.workspace.native.registry

    def __repr__(self) -> str:
        return f"Model(workspace={self.workspace!r}, name={self.name}, id={self.id}, version={self.version})"
