"""``AccelContainerImage``: how an image is to be built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fieldwave.compat.azureml.core.image import Image
from fieldwave.compat.azureml.explanation import explain

__all__ = ["AccelContainerImage", "AccelImageConfiguration"]


@dataclass(frozen=True)
class AccelImageConfiguration:
    """What is to be said of an image."""

    tags: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)
    description: str | None = None

    def validate_configuration(self) -> None:
        """Nothing of it can be wrong."""


class AccelContainerImage(Image):
    """An image with one converted model."""

    @staticmethod
    def image_configuration(
        tags: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
        description: str | None = None,
    ) -> AccelImageConfiguration:
        """What is to be said of an image."""
        explain("AccelContainerImage.image_configuration()", "fieldwave.jobs.build_image(..., tags={...})")
        return AccelImageConfiguration(tags or {}, properties or {}, description)

    def run(self, *arguments: object, **options: object) -> None:
        """Not provided: an image is run as a service.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "Can't run accel images locally. Deploy it as a service: fieldwave services deploy, or "
            "Webservice.deploy_from_image"
        )
