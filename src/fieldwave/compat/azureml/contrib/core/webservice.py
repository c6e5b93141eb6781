"""Services on edge devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieldwave.compat.azureml.contrib.core.compute import IotHubCompute
from fieldwave.compat.azureml.core.image import Image
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import WebserviceException
from fieldwave.compat.azureml.explanation import explain
from fieldwave.errors import FieldwaveError

__all__ = ["IotBaseModuleSettings", "IotModuleSettings", "IotWebservice"]


@dataclass(frozen=True)
class IotBaseModuleSettings:
    """The module with the network: the image itself; its create options are the service's own here."""

    name: str = "azureml-host"
    create_option: str | None = None


@dataclass(frozen=True)
class IotModuleSettings:
    """Another module on the device: not carried out here."""

    name: str
    image_location: str
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    create_option: str | None = None


@dataclass(frozen=True)
class IotDeploymentConfiguration:
    """What is to run on a device."""

    device_id: str
    routes: Mapping[str, str] = field(default_factory=dict)
    aml_module: IotBaseModuleSettings = field(default_factory=IotBaseModuleSettings)
    external_modules: Sequence[IotModuleSettings] = ()


class IotWebservice:
    """A service on an edge device."""

    compute_type = "IotHub"

    def __init__(self, workspace: Workspace, name: str, compute: IotHubCompute) -> None:
        self.workspace = workspace
        self.name = name
        self._compute = compute

    @staticmethod
    def deploy_configuration(
        device_id: str,
        routes: Mapping[str, str] | None = None,
        aml_module: IotBaseModuleSettings | None = None,
        external_modules: Sequence[IotModuleSettings] | None = None,
        **ignored: Any,
    ) -> IotDeploymentConfiguration:
        """What is to run on a device."""
        made = IotDeploymentConfiguration(device_id, routes or {})
        for module in external_modules or ():
            print(
                f"fieldwave: module {module.name} ({module.image_location}) is not deployed: "
                "run it beside the service with podman"
            )
        return made

    @staticmethod
    def deploy_from_image(
        workspace: Workspace,
        name: str,
        image: Image,
        deploy_config: IotDeploymentConfiguration,
        compute: IotHubCompute,
    ) -> IotWebservice:
        """Run an image on a device, and return when it answers.

        Raises:
            WebserviceException: it does not.
        """
        from fieldwave.deploy import target

        explain(
            "IotWebservice.deploy_from_image(...)",
            'fieldwave.deploy.target(workspace, "BOX").deploy(image, "NAME")',
        )
        try:
            target(workspace.native, compute.native).deploy(image.native, name)
        except FieldwaveError as error:
            raise WebserviceException(str(error)) from error
        return IotWebservice(workspace, name, compute)

    @property
    def state(self) -> str:
        """Transitioning, Healthy, Unhealthy, Failed or Unschedulable."""
        from fieldwave.deploy import target

        return target(self.workspace.native, self._compute.native).get(self.name).state

    def wait_for_deployment(self, show_output: bool = False) -> None:
        """Returns at once."""
        if show_output:
            print(f"{self.state}: {self.name}")

    def delete(self) -> None:
        """Stop it and remove it."""
        from fieldwave.deploy import target

        target(self.workspace.native, self._compute.native).delete(self.name)
