"""The messages of the kubelet's device plugin API, v1beta1, in a descriptor pool of their own."""

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
    "PreStartContainerRequest",
    "PreStartContainerResponse",
    "PreferredAllocationRequest",
    "PreferredAllocationResponse",
    "RegisterRequest",
]

_POOL = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(
    files(__package__).joinpath("device_plugin.pb").read_bytes()
).file:
    _POOL.AddSerializedFile(_file.SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"v1beta1.{name}"))


Empty = _message("Empty")
DevicePluginOptions = _message("DevicePluginOptions")
RegisterRequest = _message("RegisterRequest")
ListAndWatchResponse = _message("ListAndWatchResponse")
PreferredAllocationRequest = _message("PreferredAllocationRequest")
PreferredAllocationResponse = _message("PreferredAllocationResponse")
AllocateRequest = _message("AllocateRequest")
AllocateResponse = _message("AllocateResponse")
PreStartContainerRequest = _message("PreStartContainerRequest")
PreStartContainerResponse = _message("PreStartContainerResponse")
