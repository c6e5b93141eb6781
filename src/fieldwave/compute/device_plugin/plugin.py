"""The plugin's side of the kubelet's device plugin API v1beta1: what the kubelet asks, and the answers.

Kubernetes documentation, "Device Plugins"; the messages are in ``wire/device_plugin.proto``.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from fieldwave.compute.device_plugin.health import Checked
from fieldwave.compute.device_plugin.pods import Pods
from fieldwave.errors import FieldwaveError
from fieldwave.leases import Slot
from fieldwave.leases.machine import GIVEN_VARIABLE, to_given
from fieldwave.wire import kubelet as api

__all__ = ["DevicePlugin", "preferred"]

_log = logging.getLogger(__name__)

_SERVICE = "v1beta1.DevicePlugin"
_PERMISSIONS = "rw"
_LOOK_SECONDS = 1.0
"""How often a stream looks whether its kubelet is still there."""


class DevicePlugin:
    """What one node advertises; the kubelet's calls come in threads of the gRPC server."""

    def __init__(self, devices: Sequence[Checked], pods: Pods) -> None:
        self._pods = pods
        self._devices = tuple(devices)
        self._changed = threading.Condition()
        self._ended = False

    def update(self, devices: Sequence[Checked]) -> None:
        """Advertise these from now on; kubelets that watch are told if it is something new."""
        with self._changed:
            if self._devices == tuple(devices):
                return
            before = {one.slot.name: one.trouble for one in self._devices}
            self._devices = tuple(devices)
            for one in devices:
                if before.get(one.slot.name) != one.trouble:
                    _log.info("%s is %s", one.slot.name, f"unhealthy: {one.trouble}" if one.trouble else "healthy")
            self._changed.notify_all()

    def end(self) -> None:
        """End the streams."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def handlers(self) -> grpc.GenericRpcHandler:
        """For a gRPC server."""
        unary = {
            "GetDevicePluginOptions": (self._options, api.Empty),
            "GetPreferredAllocation": (self._preferred, api.PreferredAllocationRequest),
            "Allocate": (self._allocate, api.AllocateRequest),
            "PreStartContainer": (self._pre_start, api.PreStartContainerRequest),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(answer, request.FromString, _serialize)
            for name, (answer, request) in unary.items()
        }
        handlers["ListAndWatch"] = grpc.unary_stream_rpc_method_handler(
            self._list_and_watch, api.Empty.FromString, _serialize
        )
        return grpc.method_handlers_generic_handler(_SERVICE, handlers)

    def _options(self, request: Any, context: grpc.ServicerContext) -> Any:
        return api.DevicePluginOptions(get_preferred_allocation_available=True)

    def _list_and_watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        told: Any = None
        while context.is_active():
            with self._changed:
                self._changed.wait_for(lambda: self._ended or _listed(self._devices) != told, _LOOK_SECONDS)  # noqa: B023
                if self._ended:
                    return
                now = _listed(self._devices)
            if now != told:  # a kubelet is not told why a device is unhealthy
                yield now
                told = now

    def _preferred(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = api.PreferredAllocationResponse()
        known = {one.slot.name: one.slot for one in self._devices}
        for one in request.container_requests:
            # It is advice: what is wrong with a device is said when it is allocated.
            slots = {name: known.get(name, Slot(name, "board")) for name in one.available_deviceIDs}
            chosen = preferred(slots, list(one.must_include_deviceIDs), one.allocation_size)
            response.container_responses.add(deviceIDs=chosen)
        return response

    def _allocate(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = api.AllocateResponse()
        for one in request.container_requests:
            slots = tuple(self._slot(name, context) for name in one.devices_ids)
            try:
                self._pods.give(slots)
            except FieldwaveError as error:
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            answer = response.container_responses.add(envs={GIVEN_VARIABLE: to_given(slots)})
            for file in dict.fromkeys(file for slot in slots for file in slot.files):
                answer.devices.add(container_path=file, host_path=file, permissions=_PERMISSIONS)
            _log.info("gave %s to a container", " and ".join(one.devices_ids) or "nothing")
        return response

    def _pre_start(self, request: Any, context: grpc.ServicerContext) -> Any:
        return api.PreStartContainerResponse()  # it is not asked for, but a kubelet may

    def _slot(self, name: str, context: grpc.ServicerContext) -> Slot:
        """The device of that name, if it can be given away; else the kubelet is told why not."""
        for one in self._devices:
            if one.slot.name == name:
                if one.trouble:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"device {name} is {one.trouble}")
                return one.slot
        context.abort(grpc.StatusCode.NOT_FOUND, f"this node has no device {name!r}")
        raise AssertionError  # abort raises


def preferred(available: dict[str, Slot], wanted: Sequence[str], size: int) -> list[str]:
    """Which devices to give: ``wanted``, then those that hang on the same NUMA node as most of the others.

    Parameters:
        available: the devices to choose from, by name, ``wanted`` among them.
        wanted: those that must be among the chosen.
        size: how many to choose.
    """
    chosen = [name for name in wanted if name in available]
    while len(chosen) < size and len(chosen) < len(available):
        rest = [name for name in available if name not in chosen]
        nodes = Counter(available[name].numa for name in chosen or rest if available[name].numa is not None)
        chosen.append(max(sorted(rest), key=lambda name: nodes[available[name].numa]))
    return chosen


def _listed(devices: Sequence[Checked]) -> Any:
    response = api.ListAndWatchResponse()
    for one in devices:
        device = response.devices.add(ID=one.slot.name, health="Unhealthy" if one.trouble else "Healthy")
        if one.slot.numa is not None:
            device.topology.nodes.add(ID=one.slot.numa)
    return response


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
