from __future__ import annotations

from typing import Any

import pytest

from fieldwave.wire import kubelet

# The published definitions, k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto and podresources/v1/api.proto:
# field, number, type, repeated.
DEVICE_PLUGIN = {
    "DevicePluginOptions": "pre_start_required 1 bool, get_preferred_allocation_available 2 bool",
    "RegisterRequest": (
        "version 1 string, endpoint 2 string, resource_name 3 string, options 4 DevicePluginOptions"
    ),
    "Empty": "",
    "ListAndWatchResponse": "devices 1 Device*",
    "TopologyInfo": "nodes 1 NUMANode*",
    "NUMANode": "ID 1 int64",
    "Device": "ID 1 string, health 2 string, topology 3 TopologyInfo",
    "PreStartContainerRequest": "devices_ids 1 string*",
    "PreStartContainerResponse": "",
    "PreferredAllocationRequest": "container_requests 1 ContainerPreferredAllocationRequest*",
    "ContainerPreferredAllocationRequest": (
        "available_deviceIDs 1 string*, must_include_deviceIDs 2 string*, allocation_size 3 int32"
    ),
    "PreferredAllocationResponse": "container_responses 1 ContainerPreferredAllocationResponse*",
    "ContainerPreferredAllocationResponse": "deviceIDs 1 string*",
    "AllocateRequest": "container_requests 1 ContainerAllocateRequest*",
    "ContainerAllocateRequest": "devices_ids 1 string*",
    "CDIDevice": "name 1 string",
    "AllocateResponse": "container_responses 1 ContainerAllocateResponse*",
    "ContainerAllocateResponse": (
        "envs 1 EnvsEntry*, mounts 2 Mount*, devices 3 DeviceSpec*, annotations 4 AnnotationsEntry*, "
        "cdi_devices 5 CDIDevice*"
    ),
    "Mount": "container_path 1 string, host_path 2 string, read_only 3 bool",
    "DeviceSpec": "container_path 1 string, host_path 2 string, permissions 3 string",
}
DEVICE_PLUGIN_METHODS = {
    "Registration": ["Register RegisterRequest Empty"],
    "DevicePlugin": [
        "GetDevicePluginOptions Empty DevicePluginOptions",
        "ListAndWatch Empty ListAndWatchResponse*",
        "GetPreferredAllocation PreferredAllocationRequest PreferredAllocationResponse",
        "Allocate AllocateRequest AllocateResponse",
        "PreStartContainer PreStartContainerRequest PreStartContainerResponse",
    ],
}
POD_RESOURCES = {
    "ListPodResourcesRequest": "",
    "ListPodResourcesResponse": "pod_resources 1 PodResources*",
    "PodResources": "name 1 string, namespace 2 string, containers 3 ContainerResources*",
    "ContainerResources": "name 1 string, devices 2 ContainerDevices*",
    "ContainerDevices": "resource_name 1 string, device_ids 2 string*",
}
POD_RESOURCES_METHODS = {"PodResourcesLister": ["List ListPodResourcesRequest ListPodResourcesResponse"]}
TYPES = {3: "int64", 5: "int32", 8: "bool", 9: "string"}
FILES = [
    (kubelet.Empty.DESCRIPTOR.file, "v1beta1", DEVICE_PLUGIN, DEVICE_PLUGIN_METHODS),
    (kubelet.ListPodResourcesRequest.DESCRIPTOR.file, "v1", POD_RESOURCES, POD_RESOURCES_METHODS),
]


@pytest.mark.parametrize(("file", "package", "messages", "methods"), FILES, ids=["device plugin", "pod resources"])
def test_messages_and_services_are_those_that_kubernetes_publishes(
    file: Any, package: str, messages: dict[str, str], methods: dict[str, list[str]]
) -> None:
    assert file.package == package
    assert {name: fields(one) for name, one in file.message_types_by_name.items()} == messages
    assert {name: calls(one) for name, one in file.services_by_name.items()} == methods


def fields(message: Any) -> str:
    return ", ".join(
        f"{one.name} {one.number} {one.message_type.name if one.message_type else TYPES[one.type]}"
        f"{'*' if one.is_repeated else ''}"
        for one in message.fields
    )


def calls(service: Any) -> list[str]:
    return [
        f"{one.name} {one.input_type.name} {one.output_type.name}{'*' if one.server_streaming else ''}"
        for one in service.methods
    ]
