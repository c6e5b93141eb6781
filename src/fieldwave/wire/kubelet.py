"""The messages of the kubelet's APIs: device plugins, v1beta1, and pod resources, v1, in a pool of their own."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = [
    "AllocateRequest",
    "AllocateResponse",
    "DevicePluginOptions",
    "Empty",
    "ListAndWatchResponse",
    "ListPodResourcesRequest",
    "ListPodResourcesResponse",
    "PreStartContainerRequest",
    "PreStartContainerResponse",
    "PreferredAllocationRequest",
    "PreferredAllocationResponse",
    "RegisterRequest",
]

_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    files(__package__).joinpath("kubelet.pb").read_bytes()
).file:
    _POOL.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


Empty = _message("v1beta1.Empty")
DevicePluginOptions = _message("v1beta1.DevicePluginOptions")
RegisterRequest = _message("v1beta1.RegisterRequest")
ListAndWatchResponse = _message("v1beta1.ListAndWatchResponse")
PreferredAllocationRequest = _message("v1beta1.PreferredAllocationRequest")
PreferredAllocationResponse = _message("v1beta1.PreferredAllocationResponse")
AllocateRequest = _message("v1beta1.AllocateRequest")
AllocateResponse = _message("v1beta1.AllocateResponse")
PreStartContainerRequest = _message("v1beta1.PreStartContainerRequest")
PreStartContainerResponse = _message("v1beta1.PreStartContainerResponse")

ListPodResourcesRequest = _message("v1.ListPodResourcesRequest")
ListPodResourcesResponse = _message("v1.ListPodResourcesResponse")
