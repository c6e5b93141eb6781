"""Leases of the boards that pods have, so that services outside Kubernetes on the same node see them held.

Kubernetes tells a plugin when a device is given to a pod, and not when the pod is gone: that is asked for, by the
kubelet's pod resources API. Where a node does not offer it, no leases are held.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc

from fieldwave.errors import DeviceBusyError
from fieldwave.leases import Holder, Slot
from fieldwave.leases.slots import lock_file, read_holder, try_lock, write_record
from fieldwave.wire import kubelet as api

__all__ = ["Pods"]

_log = logging.getLogger(__name__)

_LIST = "/v1.PodResourcesLister/List"
_ANSWER_SECONDS = 5.0
_YOUNG_SECONDS = 60.0
"""How long it may take from an allocation until the kubelet lists the pod."""


@dataclass
class _Held:
    descriptor: int
    holder: str
    since: float


class Pods:
    """The leases that the plugin holds for pods; safe to use from several threads.

    Parameters:
        socket: of the kubelet's pod resources API.
        resource: whose devices count.
    """

    def __init__(self, socket: Path, resource: str) -> None:
        self._socket = socket
        self._resource = resource
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def has(self, slot: Slot) -> bool:
        """Whether a pod has it."""
        with self._lock:
            return slot.name in self._held

    def give(self, slots: Iterable[Slot]) -> None:
        """Hold these for a container that gets them just now.

        Raises:
            DeviceBusyError: a process outside Kubernetes holds one.
        """
        with self._lock:
            for slot in slots:
                if slot.kind == "board" and slot.name not in self._held and not self._take(slot, "a new pod"):
                    holder = read_holder(slot)
                    raise DeviceBusyError(f"{slot.name} is held by service {holder.name if holder else '?'}")

    def settle(self, slots: Iterable[Slot]) -> None:
        """Hold what pods have now, and let go what they no longer have."""
        boards = {slot.name: slot for slot in slots if slot.kind == "board"}
        listed = self._listed()
        if listed is None:
            return  # pods run on while their kubelet restarts
        with self._lock:
            for name, pod in listed.items():
                if name in self._held:
                    self._name(self._held[name], pod)
                elif name in boards and not self._take(boards[name], pod):
                    _log.error("pod %s has %s, which a service outside Kubernetes holds", pod, name)
            for name in [name for name in self._held if name not in listed]:
                if time.monotonic() - self._held[name].since > _YOUNG_SECONDS:
                    os.close(self._held.pop(name).descriptor)

    def end(self) -> None:
        """Let go of all."""
        with self._lock:
            while self._held:
                os.close(self._held.popitem()[1].descriptor)

    def _take(self, slot: Slot, pod: str) -> bool:
        if not self._socket.exists():
            return read_holder(slot) is None
        descriptor = try_lock(lock_file(slot))
        if descriptor is not None:
            self._held[slot.name] = held = _Held(descriptor, "", time.monotonic())
            self._name(held, pod)
        return descriptor is not None

    def _name(self, held: _Held, pod: str) -> None:
        if held.holder != pod:
            held.holder = pod
            # Without a process: the plugin must not be ended to make place for somebody.
            since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            write_record(held.descriptor, asdict(Holder(pod, 0, since)))

    def _listed(self) -> dict[str, str] | None:
        """Device to ``namespace/pod``; None when the kubelet does not say."""
        if not self._socket.exists():
            return None
        try:
            with grpc.insecure_channel(f"unix:{self._socket}") as channel:
                call = channel.unary_unary(
                    _LIST,
                    api.ListPodResourcesRequest.SerializeToString,
                    api.ListPodResourcesResponse.FromString,
                )
                answer: Any = call(api.ListPodResourcesRequest(), timeout=_ANSWER_SECONDS)
        except grpc.RpcError:
            return None
        return {
            name: f"{pod.namespace}/{pod.name}"
            for pod in answer.pod_resources
            for container in pod.containers
            for devices in container.devices
            if devices.resource_name == self._resource
            for name in devices.device_ids
        }
