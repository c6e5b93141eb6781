"""What a deployed service is, under the names that old scripts ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fieldwave.compat.azureml.core.image import Image
from fieldwave.compat.azureml.core.naming import translated
from fieldwave.compat.azureml.core.place import target
from fieldwave.compat.azureml.core.records import changed
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import WebserviceException
from fieldwave.errors import FieldwaveError

if TYPE_CHECKING:
    from fieldwave.deploy import Service, Target

__all__ = ["RECORDS", "ServiceFacts"]

RECORDS = "services"
"""The kind of what is remembered of services that scripts deployed."""


class ServiceFacts:
    """The attributes of a service.

    Attributes:
        workspace: where it is.
        name: of the service.
    """

    compute_type = "AKS"
    swagger_uri: None = None
    workspace: Workspace
    name: str
    _said: dict[str, Any]

    @property
    def native(self) -> Service:
        """The service itself.

        Raises:
            WebserviceException: it is gone.
        """
        with translated(WebserviceException):
            return self._target.get(self.name)

    @property
    def state(self) -> str:
        """Transitioning, Healthy, Unhealthy, Failed or Unschedulable; Deleting once it is gone."""
        try:
            return self._target.get(self.name).state
        except FieldwaveError:
            return "Deleting"

    @property
    def scoring_uri(self) -> str:
        """Its host, without port and path, as scripts expect it; clients find the port by the service's name."""
        return f"http://{self.native.host}/"

    @property
    def auth_enabled(self) -> bool:
        """Whether it asks for a key."""
        return bool(self._said["auth_enabled"])

    @property
    def tags(self) -> dict[str, str]:
        """What may change."""
        return dict(self._said["tags"])

    @property
    def properties(self) -> dict[str, str]:
        """What stays."""
        return dict(self._said["properties"])

    @property
    def description(self) -> str | None:
        """What it is."""
        said = self._said["description"]
        return None if said is None else str(said)

    @property
    def image_id(self) -> str:
        """The image that it runs."""
        return str(self._said["image"])

    @property
    def image(self) -> Image:
        """The image that it runs."""
        return Image(self.workspace, id=self.image_id)

    @property
    def compute_name(self) -> str:
        """The target that the script named."""
        return str(self._said["compute"])

    def serialize(self) -> dict[str, Any]:
        """Its attributes, under the names that the retired service used."""
        return {
            "name": self.name,
            "state": self.state,
            "computeType": self.compute_type,
            "computeName": self.compute_name,
            "scoringUri": self.scoring_uri,
            "imageId": self.image_id,
            "authEnabled": self.auth_enabled,
            "tags": self.tags,
            "properties": self.properties,
            "description": self.description,
        }

    @property
    def _target(self) -> Target:
        return target(self.workspace.native)

    def _say(self, **changes: object) -> None:
        with changed(self.workspace.native, RECORDS) as records:
            records[self.name] = self._said = {**records[self.name], **changes}
