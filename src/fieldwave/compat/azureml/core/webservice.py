"""``azureml.core.webservice``: services."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fieldwave.compat.azureml.core.compute import ComputeTarget
from fieldwave.compat.azureml.core.deployment_configuration import AksServiceDeploymentConfiguration
from fieldwave.compat.azureml.core.image import Image
from fieldwave.compat.azureml.core.model import Filters
from fieldwave.compat.azureml.core.naming import filters, texts, translated
from fieldwave.compat.azureml.core.place import target
from fieldwave.compat.azureml.core.records import changed, read
from fieldwave.compat.azureml.core.service_facts import RECORDS, ServiceFacts
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import WebserviceException
from fieldwave.compat.azureml.explanation import explain

if TYPE_CHECKING:
    pass

__all__ = ["AksWebservice", "Webservice"]

_SECONDS = 600.0
_POLL_SECONDS = 0.2


class Webservice(ServiceFacts):
    """A deployed service.

    Raises:
        WebserviceException: no script deployed one of that name here.
    """

    def __init__(self, workspace: Workspace, name: str) -> None:
        records = read(workspace.native, RECORDS)
        if name not in records:
            raise WebserviceException(
                f"WebserviceNotFound: Webservice with name {name} not found in provided workspace"
            )
        self.workspace = workspace
        self.name = name
        self._said: dict[str, Any] = records[name]

    @staticmethod
    def deploy_configuration(**options: Any) -> AksServiceDeploymentConfiguration:
        """How a service is to be deployed; see `AksServiceDeploymentConfiguration`."""
        explain("AksWebservice.deploy_configuration(...)", "target.deploy(..., replicas=1, secure=True)")
        return AksServiceDeploymentConfiguration(**options)

    @staticmethod
    def deploy_from_image(
        workspace: Workspace,
        name: str,
        image: Image,
        deployment_config: AksServiceDeploymentConfiguration | None = None,
        deployment_target: ComputeTarget | None = None,
        overwrite: bool = False,
    ) -> AksWebservice:
        """Begin to run an image as a service, and return at once.

        Raises:
            WebserviceException: the name is taken, the image is not built, or no target is named.
        """
        explain(
            "Webservice.deploy_from_image(workspace, name, image, ...)",
            'fieldwave.deploy.target(workspace).deploy(image, "NAME")',
        )
        if deployment_target is None:
            raise WebserviceException("Must have a deployment target for an AKS web service.")
        if image.creation_state != "Succeeded":
            raise WebserviceException(
                f"Unable to create service with image {image.name} in state {image.creation_state}"
            )
        said = deployment_config or AksServiceDeploymentConfiguration()
        there = name in read(workspace.native, RECORDS)
        if there and not overwrite:
            raise WebserviceException(
                f"Service {name} with the same name already exists, please use a different name"
            )
        with translated(WebserviceException):
            place = target(workspace.native)
            if there:
                place.delete(name)
            place.deploy(image.native, name, replicas=said.replicas, secure=said.secure, wait=False)
        with changed(workspace.native, RECORDS) as records:
            records[name] = {
                "image": image.id,
                "compute": deployment_target.name,
                "auth_enabled": said.secure,
                "tags": texts(said.tags),
                "properties": texts(said.properties),
                "description": said.description,
            }
        return AksWebservice(workspace, name)

    @staticmethod
    def list(
        workspace: Workspace,
        compute_type: str | None = None,
        image_name: str | None = None,
        image_id: str | None = None,
        tags: Filters = None,
        properties: Filters = None,
        **ignored: object,
    ) -> list[Webservice]:
        """The services that scripts deployed here and that fit all filters."""
        found: list[Webservice] = []
        for name, said in sorted(read(workspace.native, RECORDS).items()):
            of = str(said["image"])
            if image_id not in (None, of) or image_name not in (None, of.partition(":")[0]):
                continue
            if _meets(said["tags"], tags) and _meets(said["properties"], properties):
                found.append(AksWebservice(workspace, name))
        return found

    def wait_for_deployment(self, show_output: bool = False, timeout_sec: float | None = None) -> None:
        """Wait until it answers.

        Raises:
            WebserviceException: it failed, or does not answer in time.
        """
        explain("service.wait_for_deployment()", "service.wait()")
        deadline = time.monotonic() + (timeout_sec or _SECONDS)
        before = ""
        while (state := self.state) == "Transitioning" and time.monotonic() < deadline:
            if show_output and state != before:
                print(state)
            before = state
            time.sleep(_POLL_SECONDS)
        if show_output:
            print(f"{state}: {self.name}")
        if state != "Healthy":
            reason = self.native.reason
            raise WebserviceException(
                f"Service deployment polling reached state {state}: {reason or 'no reason is known'}\n"
                f"More information can be found using '.get_logs()' or: fieldwave services logs {self.name}"
            )

    def update_deployment_state(self) -> None:
        """Nothing to do: it is asked for each time."""

    def get_keys(self) -> tuple[str, str]:
        """The primary and the secondary key."""
        explain("service.get_keys()", "target.keys(NAME)")
        with translated(WebserviceException):
            keys = self._target.keys(self.name)
        return keys.primary, keys.secondary

    def regen_key(self, key: str, set_key: str | None = None) -> None:
        """Have another key, ``Primary`` or ``Secondary``; the other one stays valid.

        Raises:
            WebserviceException: neither; or the new key is to be a given one, which is not provided.
        """
        explain("service.regen_key('Primary')", 'target.regenerate_key(NAME, "primary")')
        if key.lower() not in ("primary", "secondary"):
            raise WebserviceException(f"Error, invalid key {key!r}: it is Primary or Secondary")
        if set_key is not None:
            raise WebserviceException(
                "keys of one's own are not provided: a key is made at random; leave set_key out"
            )
        with translated(WebserviceException):
            self._target.regenerate_key(self.name, "primary" if key.lower() == "primary" else "secondary")

    def get_logs(self, num_lines: int = 5000, init: bool = False) -> str:
        """The last lines of what it wrote."""
        explain("service.get_logs()", "target.logs(NAME)")
        with translated(WebserviceException):
            return "\n".join(self._target.logs(self.name, lines=num_lines))

    def run(self, input: object) -> None:
        """Not provided: these services speak gRPC.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("this service speaks gRPC: use azureml.accel.client_from_service(service)")

    def add_tags(self, tags: Mapping[str, object]) -> None:
        """Set tags."""
        self._say(tags={**self.tags, **texts(tags)})

    def remove_tags(self, tags: Sequence[str]) -> None:
        """Take tags away."""
        self._say(tags={key: value for key, value in self.tags.items() if key not in tags})

    def add_properties(self, properties: Mapping[str, object]) -> None:
        """Add properties, which stay."""
        self._say(properties={**texts(properties), **self.properties})

    def update(
        self,
        image: Image | None = None,
        num_replicas: int | None = None,
        tags: Mapping[str, object] | None = None,
        description: str | None = None,
        **ignored: object,
    ) -> None:
        """Run another image, or another number of replicas, under the same name."""
        explain("service.update(image=...)", "target.update(NAME, image); target.scale(NAME, replicas)")
        with translated(WebserviceException):
            if image is not None:
                self._target.update(self.name, image.native)
                self._say(image=image.id)
            if num_replicas is not None:
                self._target.scale(self.name, num_replicas)
        if tags is not None:
            self._say(tags=texts(tags))
        if description is not None:
            self._say(description=description)

    def delete(self) -> None:
        """Stop it and remove it; what it ran stays.

        Raises:
            WebserviceException: it is gone already.
        """
        explain("service.delete()", "target.delete(NAME)")
        with translated(WebserviceException):
            self._target.delete(self.name)
        with changed(self.workspace.native, RECORDS) as records:
            records.pop(self.name, None)


class AksWebservice(Webservice):
    """A service on a cluster, or what stands for one."""


def _meets(said: Mapping[str, str], wanted: Filters) -> bool:
    pairs = (one.partition("=") for one in filters(wanted))
    return all(key in said and (not equals or said[key] == value) for key, equals, value in pairs)
