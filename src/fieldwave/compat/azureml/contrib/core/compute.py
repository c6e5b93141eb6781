"""Edge devices of an IoT hub, which here are boxes that are reached by ssh."""

from __future__ import annotations

from dataclasses import dataclass, field

from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import ComputeTargetException
from fieldwave.compat.azureml.explanation import explain
from fieldwave.compute import Computes

__all__ = ["IotHubCompute", "IotHubConfiguration"]


@dataclass(frozen=True)
class IotHubConfiguration:
    """An IoT hub; there is none here, and nothing of it is used."""

    name: str | None = None
    resource_group: str | None = None
    connection_string: str | None = field(default=None, repr=False)


class IotHubCompute:
    """An edge device: the box of that name that is attached to the workspace, else the only one.

    Raises:
        ComputeTargetException: no box is attached, or several and none of that name.
    """

    type = "IotHub"
    provisioning_state = "Succeeded"
    provisioning_errors: None = None

    def __init__(self, workspace: Workspace, name: str) -> None:
        boxes = [one.name for one in Computes(workspace.native).list() if one.kind == "edge"]
        if name not in boxes and len(boxes) != 1:
            there = f"there are {', '.join(boxes)}" if boxes else "none is attached"
            raise ComputeTargetException(
                f"no edge box {name!r}: {there}; fieldwave compute attach {name} --ssh USER@BOX attaches one"
            )
        self.workspace = workspace
        self.name = name
        self.native = name if name in boxes else boxes[0]

    @staticmethod
    def attach_configuration(
        name: str | None = None, resource_group: str | None = None, connection_string: str | None = None
    ) -> IotHubConfiguration:
        """An IoT hub."""
        return IotHubConfiguration(name, resource_group, connection_string)

    @staticmethod
    def attach(workspace: Workspace, device_id: str, attach_configuration: IotHubConfiguration) -> IotHubCompute:
        """The box that stands for a device."""
        explain(
            "IotHubCompute.attach(workspace, device_id, config)", "fieldwave compute attach NAME --ssh USER@BOX"
        )
        found = IotHubCompute(workspace, device_id)
        print(f"fieldwave: device {device_id} stands for the edge box {found.native!r}")
        return found

    def wait_for_completion(self, show_output: bool = False) -> None:
        """Returns at once."""

    def detach(self) -> None:
        """Nothing to do: the box stays attached."""

    delete = detach
