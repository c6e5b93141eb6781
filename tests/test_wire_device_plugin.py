from __future__ import annotations

from fieldwave.wire import device_plugin

# The published definition, k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto: field, number, type, repeated.
PUBLISHED = {
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
PUBLISHED_METHODS = {
    "Registration": ["Register RegisterRequest Empty"],
    "DevicePlugin": [
        "GetDevicePluginOptions Empty DevicePluginOptions",
        "ListAndWatch Empty ListAndWatchResponse*",
        "GetPreferredAllocation PreferredAllocationRequest PreferredAllocationResponse",
        "Allocate AllocateRequest AllocateResponse",
        "PreStartContainer PreStartContainerRequest PreStartContainerResponse",
    ],
}
TYPES = {3: "int64", 5: "int32", 8: "bool", 9: "string"}


def test_the_messages_are_those_that_kubernetes_publishes() -> None:
    file = device_plugin.Empty.DESCRIPTOR.file
    assert (file.package, set(file.message_types_by_name)) == ("v1beta1", set(PUBLISHED))
    for name, message in file.message_types_by_name.items():
        fields = [
            f"{one.name} {one.number} {one.message_type.name if one.message_type else TYPES[one.type]}"
            f"{'*' if one.is_repeated else ''}"
            for one in message.fields
        ]
        assert ", ".join(fields) == PUBLISHED[name]


def test_the_services_are_those_that_kubernetes_publishes() -> None:
    services = device_plugin.Empty.DESCRIPTOR.file.services_by_name
    assert set(services) == set(PUBLISHED_METHODS)
    for name, service in services.items():
        methods = [
            f"{one.name} {one.input_type.name} {one.output_type.name}{'*' if one.server_streaming else ''}"
            for one in service.methods
        ]
        assert methods == PUBLISHED_METHODS[name]
