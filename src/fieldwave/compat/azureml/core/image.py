"""``azureml.core.image``: container images."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fieldwave.compat.azureml.core.model import Filters, Model
from fieldwave.compat.azureml.core.naming import filters, native_name, texts, time_of, translated
from fieldwave.compat.azureml.core.records import changed, read
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import WebserviceException
from fieldwave.compat.azureml.explanation import explain

if TYPE_CHECKING:
    from fieldwave.images import Image as Native
    from fieldwave.jobs import Operation

__all__ = ["ContainerImage", "Image"]

_RECORDS = "images"


class Image:
    """One version of an image; the latest where none is named.

    Raises:
        WebserviceException: there is none.
    """

    image_flavor = "AccelContainer"
    image_type = "Docker"
    generated_dockerfile_uri = None

    def __init__(
        self,
        workspace: Workspace,
        name: str | None = None,
        id: str | None = None,
        tags: Filters = None,
        properties: Filters = None,
        version: int | None = None,
    ) -> None:
        wanted, _, number = (id or name or "").partition(":")
        number = number or (str(version) if version is not None else "")
        found = [
            image
            for image in Image.list(workspace, image_name=wanted or None, tags=tags, properties=properties)
            if number in ("", str(image.version))
        ]
        if not wanted or not found:
            raise WebserviceException(f"Image {id or name!r} not found")
        self._become(workspace, found[-1].name, found[-1]._image, None)

    @classmethod
    def create(cls, workspace: Workspace, name: str, models: Sequence[Model], image_config: Any) -> Image:
        """Begin to build an image of a converted model, and return at once.

        Raises:
            WebserviceException: not one model, or one that was not converted.
        """
        from fieldwave.jobs import build_image

        explain("Image.create(workspace, name, models, image_config)", 'fieldwave.jobs.build_image(model, "NAME")')
        if len(models) != 1:
            raise WebserviceException(f"An image can only contain a single model, {len(models)} were given")
        (model,) = models
        print("Creating image")
        with translated(WebserviceException):
            operation = build_image(
                model.native, native_name(name), tags=texts(image_config.tags), workspace=workspace.native
            )
        image = cls.__new__(cls)
        image._become(workspace, name, None, operation)
        with changed(workspace.native, _RECORDS) as records:
            records[operation.id] = {
                "name": name,
                "properties": texts(image_config.properties),
                "description": image_config.description,
            }
        return image

    @staticmethod
    def list(
        workspace: Workspace,
        image_name: str | None = None,
        model_name: str | None = None,
        model_id: str | None = None,
        tags: Filters = None,
        properties: Filters = None,
    ) -> list[Image]:
        """The images that fit all filters."""
        explain("Image.list(workspace)", "workspace.images.find()")
        with translated(WebserviceException):
            found = workspace.native.images.find(
                native_name(image_name) if image_name else None, tags=filters(tags)
            )
        made = []
        for native in found:
            image = Image.__new__(Image)
            image._become(workspace, native.name, native, None)
            of = native.model.partition("@")[0]
            if model_id in (None, of) and model_name in (None, of.partition(":")[0]):
                made.append(image)
        return made

    def _become(
        self, workspace: Workspace, name: str, image: Native | None, operation: Operation[Native] | None
    ) -> None:
        self.workspace = workspace
        self.name = name
        self._image = image
        self._operation = operation
        self._deleted = False

    @property
    def native(self) -> Native:
        """The image itself.

        Raises:
            WebserviceException: it is not built, or not yet.
        """
        if self._image is None:
            assert self._operation is not None
            if self._operation.state != "Succeeded":
                raise WebserviceException(
                    f"Image {self.name!r} is not there: its creation is {self.creation_state}"
                    f"{': ' + self._operation.error if self._operation.error else ''}"
                )
            self._image = self._operation.result
        return self._image

    @property
    def creation_state(self) -> str:
        """NotStarted, Running, Cancelled, Succeeded, Failed, TimedOut or Deleted."""
        if self._deleted:
            return "Deleted"
        return "Succeeded" if self._image is not None or self._operation is None else self._operation.state

    def wait_for_creation(self, show_output: bool = False) -> None:
        """Wait until it is built.

        Raises:
            WebserviceException: it was not built.
        """
        explain("image.wait_for_creation()", "operation.wait_for_completion(show_output=True)")
        if self._operation is None:
            return
        succeeded = self._operation.wait_for_completion(show_output)
        print(f"{self.creation_state}")
        if not succeeded:
            raise WebserviceException(
                f"Image creation {self.creation_state}: {self._operation.error}\nlog: {self.image_build_log_uri}"
            )

    def update_creation_state(self) -> None:
        """Nothing to do: it is asked for each time."""

    @property
    def version(self) -> int:
        """Counts from 1 for each name."""
        return self.native.version

    @property
    def id(self) -> str:
        """``name:version``."""
        return self.native.id

    @property
    def image_location(self) -> str:
        """What podman and docker call it."""
        return self.native.reference()

    @property
    def image_build_log_uri(self) -> str:
        """Where its build log is read."""
        name = self._image.id if self._image is not None else self.name
        return f"fieldwave images logs {name}"

    @property
    def tags(self) -> dict[str, str]:
        """What people say of it."""
        return dict(self.native.tags)

    @property
    def properties(self) -> dict[str, str]:
        """What was said at its creation."""
        operation = self._operation
        said = read(self.workspace.native, _RECORDS).get(operation.id, {}) if operation else {}
        return dict(said.get("properties", {}))

    @property
    def created_time(self) -> datetime:
        """When it was built, in UTC."""
        return time_of(self.native.created)

    @property
    def model_ids(self) -> Sequence[str]:
        """The model in it."""
        of = self.native.model.partition("@")[0]
        return [of] if of else []

    @property
    def models(self) -> Sequence[Model]:
        """The model in it."""
        return [Model(self.workspace, id=one) for one in self.model_ids]

    def delete(self) -> None:
        """Delete it.

        Raises:
            WebserviceException: a service uses it; the message names all that do.
        """
        from fieldwave.deploy import users
        from fieldwave.images import Images

        explain("image.delete()", "workspace.images.delete(image)")
        native = self.workspace.native
        with translated(WebserviceException):
            Images(native.store, users=users(native)).delete(self.native)
        self._deleted = True

    def serialize(self) -> dict[str, Any]:
        """Its attributes, under the names that the retired service used."""
        return {
            "name": self.name,
            "id": self.id,
            "version": self.version,
            "createdTime": self.native.created,
            "creationState": self.creation_state,
            "imageType": self.image_type,
            "imageFlavor": self.image_flavor,
            "imageLocation": self.image_location,
            "imageBuildLogUri": self.image_build_log_uri,
            "modelIds": list(self.model_ids),
            "tags": self.tags,
            "properties": self.properties,
        }


class ContainerImage(Image):
    """Images with a script of one's own inside: not provided."""

    @staticmethod
    def image_configuration(*arguments: object, **options: object) -> None:
        """Not provided.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "images with a scoring script of one's own are not provided; "
            "AccelContainerImage.image_configuration() makes images that run a converted model"
        )
