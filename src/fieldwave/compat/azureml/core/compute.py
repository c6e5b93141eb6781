"""``azureml.core.compute``: clusters, which here are what the workspace has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fieldwave.compat.azureml.core.place import place
from fieldwave.compat.azureml.core.records import changed, read
from fieldwave.compat.azureml.core.workspace import Workspace
from fieldwave.compat.azureml.exceptions import ComputeTargetException
from fieldwave.compat.azureml.explanation import explain

__all__ = ["AksCompute", "AksProvisioningConfiguration", "ComputeTarget", "ComputeTargetException"]

_RECORDS = "computes"
_RESERVED = ("amlcompute", "local", "containerinstance")


@dataclass(frozen=True)
class AksProvisioningConfiguration:
    """What a cluster was to be; kept for scripts that print it."""

    agent_count: int | None = None
    vm_size: str | None = None
    location: str | None = None
    cluster_purpose: str | None = None
    attached: bool = False

    def enable_ssl(self, *arguments: object, **options: object) -> None:
        """Not provided.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "certificates belong to the service here: fieldwave services deploy --tls-cert FILE --tls-key FILE"
        )


class ComputeTarget:
    """A cluster of the workspace, by the name that a script gave it.

    There is nothing to rent here: it stands for the Kubernetes cluster that is attached to the workspace, else for
    this machine.

    Raises:
        ComputeTargetException: no script made one of that name here.
    """

    type = "AKS"
    provisioning_errors: None = None

    def __init__(self, workspace: Workspace, name: str) -> None:
        records = read(workspace.native, _RECORDS)
        if name not in records:
            raise ComputeTargetException(
                f"ComputeTargetNotFound: Compute Target with name {name} not found in provided workspace"
            )
        self.workspace = workspace
        self.name = name
        self._said: Mapping[str, Any] = records[name]

    @staticmethod
    def create(
        workspace: Workspace, name: str, provisioning_configuration: AksProvisioningConfiguration
    ) -> AksCompute:
        """Have a cluster under that name.

        Raises:
            ComputeTargetException: the name is taken or reserved.
        """
        explain("ComputeTarget.create(workspace, name, config)", "fieldwave compute attach NAME --context CONTEXT")
        if name in _RESERVED:
            raise ComputeTargetException(f"the name {name!r} is reserved; choose another")
        said = provisioning_configuration
        with changed(workspace.native, _RECORDS) as records:
            if name in records:
                raise ComputeTargetException(
                    f"a compute target {name!r} exists already; delete it, or take it by its name"
                )
            records[name] = {
                "vm_size": said.vm_size or "Standard_D3_v2",
                "agent_count": said.agent_count or 3,
                "location": said.location or workspace.location,
                "cluster_purpose": said.cluster_purpose or "FastProd",
                "attached": said.attached,
                "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        made = AksCompute(workspace, name)
        print(f"fieldwave: {name} ({said.vm_size or 'any size'}) stands for {made.stands_for}")
        return made

    attach = create

    @staticmethod
    def list(workspace: Workspace) -> list[ComputeTarget]:
        """Those that scripts made here."""
        return [AksCompute(workspace, name) for name in sorted(read(workspace.native, _RECORDS))]

    @property
    def stands_for(self) -> str:
        """What it is in truth."""
        where = place(self.workspace.native)
        return "this machine" if where == "local" else f"the compute target {where!r}"

    @property
    def native(self) -> str:
        """The compute target that it stands for, by name."""
        return place(self.workspace.native)

    @property
    def provisioning_state(self) -> str:
        """Succeeded: it is there from the first."""
        return "Succeeded"

    @property
    def location(self) -> str:
        """Where it was to be."""
        return str(self._said["location"])

    @property
    def agent_vm_size(self) -> str:
        """What machines it was to have."""
        return str(self._said["vm_size"])

    @property
    def agent_count(self) -> int:
        """How many."""
        return int(self._said["agent_count"])

    def wait_for_completion(self, show_output: bool = False, is_delete_operation: bool = False) -> None:
        """Returns at once."""
        explain("compute_target.wait_for_completion()", "nothing: fieldwave compute show NAME tells its state")
        if show_output:
            print(f"{self.provisioning_state}: {self.name} stands for {self.stands_for}")

    def get_status(self) -> str:
        """Its provisioning state."""
        return self.provisioning_state

    def refresh_state(self) -> None:
        """Nothing to do."""

    def delete(self) -> None:
        """Forget the name; what it stands for stays."""
        explain("compute_target.delete()", "fieldwave compute delete NAME")
        with changed(self.workspace.native, _RECORDS) as records:
            if records.pop(self.name, None) is None:
                raise ComputeTargetException(f"a compute target {self.name!r} does not exist")

    detach = delete

    def serialize(self) -> dict[str, Any]:
        """Its attributes, under the names that the retired service used."""
        return {
            "id": f"{self.workspace.get_details()['id']}/computes/{self.name}",
            "name": self.name,
            "tags": None,
            "location": self.location,
            "properties": {
                "computeType": self.type,
                "computeLocation": self.location,
                "provisioningState": self.provisioning_state,
                "provisioningErrors": None,
                "isAttachedCompute": bool(self._said["attached"]),
                "properties": {
                    "agentVmSize": self.agent_vm_size,
                    "agentCount": self.agent_count,
                    "clusterPurpose": self._said["cluster_purpose"],
                },
            },
        }


class AksCompute(ComputeTarget):
    """A Kubernetes cluster."""

    @staticmethod
    def provisioning_configuration(
        agent_count: int | None = None,
        vm_size: str | None = None,
        ssl_cname: str | None = None,
        ssl_cert_pem_file: str | None = None,
        ssl_key_pem_file: str | None = None,
        location: str | None = None,
        vnet_resourcegroup_name: str | None = None,
        vnet_name: str | None = None,
        subnet_name: str | None = None,
        service_cidr: str | None = None,
        dns_service_ip: str | None = None,
        docker_bridge_cidr: str | None = None,
        cluster_purpose: str | None = None,
        load_balancer_type: str | None = None,
        load_balancer_subnet: str | None = None,
    ) -> AksProvisioningConfiguration:
        """What a cluster is to be: kept, and otherwise without meaning here."""
        explain("AksCompute.provisioning_configuration(...)", "nothing: a compute target is what is there")
        made = AksProvisioningConfiguration(agent_count, vm_size, location, cluster_purpose)
        if ssl_cname or ssl_cert_pem_file or ssl_key_pem_file:
            made.enable_ssl()
        return made

    @staticmethod
    def attach_configuration(
        resource_group: str | None = None,
        cluster_name: str | None = None,
        resource_id: str | None = None,
        cluster_purpose: str | None = None,
        **ignored: object,
    ) -> AksProvisioningConfiguration:
        """An existing cluster: the one that is attached to the workspace."""
        return AksProvisioningConfiguration(cluster_purpose=cluster_purpose, attached=True)
