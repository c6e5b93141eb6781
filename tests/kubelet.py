"""A stand-in for the kubelet's side of the device plugin API v1beta1, as its documentation tells it.

It answers Registration on ``kubelet.sock``, connects back to the socket that the plugin names, watches its
devices, and allocates them to pods, each to one at a time, of which it tells by the pod resources API. A restart
clears the folder of sockets, as the real one does.
"""

from __future__ import annotations

import queue
import threading
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from fieldwave.wire import kubelet as api

_PLUGIN = "/v1beta1.DevicePlugin/"


class Kubelet:
    """One kubelet.

    Attributes:
        folder: of the sockets.
        registered: what plugins have registered, in order.
        lists: each list of devices that a plugin has sent, name to health.
        pods: what each pod has, by ``namespace/name``.
        refuse: why the next registrations are refused; empty if they are not.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registered: queue.Queue[Any] = queue.Queue()
        self.lists: queue.Queue[dict[str, str]] = queue.Queue()
        self.topology: dict[str, list[int]] = {}
        self.refuse = ""
        self.pods: dict[str, list[str]] = {}
        self._server: Any = None
        self._lister: Any = None
        self._channel: grpc.Channel | None = None

    def start(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        handlers = {
            "Register": grpc.unary_unary_rpc_method_handler(
                self._register, api.RegisterRequest.FromString, api.Empty.SerializeToString
            )
        }
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", handlers),)
        )
        self._server.add_insecure_port(f"unix:{self.folder / 'kubelet.sock'}")
        self._server.start()

    @property
    def pod_resources(self) -> Path:
        """The socket of that API; there from `list_pods` on."""
        return self.folder / "pods"

    def list_pods(self) -> None:
        handlers = {
            "List": grpc.unary_unary_rpc_method_handler(
                self._list, api.ListPodResourcesRequest.FromString, api.ListPodResourcesResponse.SerializeToString
            )
        }
        self._lister = grpc.server(futures.ThreadPoolExecutor(2))
        self._lister.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),)
        )
        self._lister.add_insecure_port(f"unix:{self.pod_resources}")
        self._lister.start()

    def stop(self) -> None:
        if self._lister is not None:
            self._lister.stop(0).wait()
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def options(self) -> Any:
        return self._call("GetDevicePluginOptions", api.Empty(), api.DevicePluginOptions)

    def prefer(self, available: list[str], size: int, must: tuple[str, ...] = ()) -> list[str]:
        request = api.PreferredAllocationRequest()
        request.container_requests.add(
            available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
        )
        response = self._call("GetPreferredAllocation", request, api.PreferredAllocationResponse)
        return list(response.container_responses[0].deviceIDs)

    def allocate(self, *containers: list[str], pod: str = "vision/p") -> list[Any]:
        """What each container of a pod gets for these devices, none of which another has."""
        wanted = [name for names in containers for name in names]
        others = {name for names in self.pods.values() for name in names}
        assert not others & set(wanted), "the kubelet gives a device to one container at a time"
        request = api.AllocateRequest()
        for names in containers:
            request.container_requests.add(devices_ids=names)
        response = self._call("Allocate", request, api.AllocateResponse)
        self.pods[pod] = wanted
        return list(response.container_responses)

    def pre_start(self, *names: str) -> Any:
        request = api.PreStartContainerRequest(devices_ids=names)
        return self._call("PreStartContainer", request, api.PreStartContainerResponse)

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        response = api.ListPodResourcesResponse()
        for pod, names in self.pods.items():
            namespace, _, name = pod.partition("/")
            container = response.pod_resources.add(name=name, namespace=namespace).containers.add(name="server")
            container.devices.add(resource_name="fieldwave.dev/npu", device_ids=names)
            container.devices.add(resource_name="example.com/other", device_ids=["u250-1"])
        return response

    def _call(self, method: str, request: Any, response: Any) -> Any:
        assert self._channel is not None
        call = self._channel.unary_unary(_PLUGIN + method, type(request).SerializeToString, response.FromString)
        return call(request, timeout=10)

    def _register(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self.refuse:
            context.abort(grpc.StatusCode.UNKNOWN, self.refuse)
        if request.version != "v1beta1":
            context.abort(grpc.StatusCode.UNKNOWN, f"requested API version {request.version!r} is not supported")
        if self._channel is not None:
            self._channel.close()
        self._channel = grpc.insecure_channel(f"unix:{self.folder / request.endpoint}")
        threading.Thread(target=self._watch, args=(self._channel,), daemon=True).start()
        self.registered.put(request)
        return api.Empty()

    def _watch(self, channel: grpc.Channel) -> None:
        call = channel.unary_stream(
            f"{_PLUGIN}ListAndWatch", api.Empty.SerializeToString, api.ListAndWatchResponse.FromString
        )
        try:
            for response in call(api.Empty()):
                self.topology = {one.ID: [node.ID for node in one.topology.nodes] for one in response.devices}
                self.lists.put({one.ID: one.health for one in response.devices})
        except (grpc.RpcError, ValueError):
            pass  # the plugin ended, or the channel is closed
