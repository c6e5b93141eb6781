"""The life of the device plugin: it serves, registers with the kubelet, and does both again when that restarts."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from fieldwave.compute.compute import RESOURCE
from fieldwave.compute.device_plugin.health import check
from fieldwave.compute.device_plugin.plugin import DevicePlugin
from fieldwave.compute.device_plugin.pods import Pods
from fieldwave.errors import FieldwaveError, InputError
from fieldwave.leases import read_machine
from fieldwave.wire import kubelet as api

__all__ = ["KUBELET_FOLDER", "POD_RESOURCES", "PluginOptions", "run"]

_log = logging.getLogger(__name__)

KUBELET_FOLDER = Path("/var/lib/kubelet/device-plugins")
POD_RESOURCES = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
_VERSION = "v1beta1"
_ENDPOINT = "fieldwave-npu.sock"
_KUBELET = "kubelet.sock"
_SOCKET_PATH_BYTES = 107
_CALLS = 16
_REGISTER_SECONDS = 10.0


@dataclass(frozen=True)
class PluginOptions:
    """What the plugin is started with.

    Attributes:
        resource: the extended resource that it advertises.
        folder: the kubelet's folder for device plugins, with ``kubelet.sock``.
        root: where the node's root folder is seen; its device files are looked for under it.
        pod_resources: the socket of the kubelet's pod resources API; it need not be there.
        seconds: how often the devices and the kubelet are looked at.
    """

    resource: str = RESOURCE
    folder: Path = KUBELET_FOLDER
    root: Path = Path("/")
    pod_resources: Path = POD_RESOURCES
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if len(os.fsencode(self.folder / _ENDPOINT)) > _SOCKET_PATH_BYTES:
            raise InputError(
                f"{self.folder / _ENDPOINT} is too long for a socket, at most {_SOCKET_PATH_BYTES} bytes"
            )
        if not self.seconds > 0:
            raise InputError(f"seconds is {self.seconds}; it must be more than 0")


def run(options: PluginOptions, stopped: threading.Event, registered: Callable[[], None] = lambda: None) -> None:
    """Advertise this node's NPUs until ``stopped``.

    A kubelet that restarts removes the sockets of its plugins and has forgotten them all: then, and whenever the
    kubelet's socket is a new one, the plugin listens and registers anew. While there is no kubelet it waits.

    Parameters:
        registered: called after each registration.

    Raises:
        FieldwaveError: at the start: the machine's file says what cannot be, or the leases cannot be kept. Later
            the devices stay as they were.
    """
    machine = read_machine()
    pods = Pods(options.pod_resources, options.resource)
    pods.settle(machine.advertised)
    plugin = DevicePlugin(check(machine, options.root, pods.has), pods)
    server: Any = None
    known: tuple[int, ...] | None = None
    said = ""
    try:
        while not stopped.is_set():
            kubelet = _identity(options.folder / _KUBELET)
            if kubelet is not None and (known != kubelet or not (options.folder / _ENDPOINT).is_socket()):
                _end(server)
                known = None
                try:
                    server = _serve(plugin, options)
                    _register(options)
                    known, said = kubelet, ""
                    registered()
                except (OSError, RuntimeError, grpc.RpcError) as error:
                    said = _say(f"the kubelet did not take the plugin, it is tried again: {_reason(error)}", said)
            elif kubelet is None:
                known, said = None, _say(f"no kubelet at {options.folder / _KUBELET} yet", said)
            stopped.wait(options.seconds)
            try:
                before, machine = machine, read_machine()
                if machine == before:  # else its file may be half written just now
                    pods.settle(machine.advertised)
                    plugin.update(check(machine, options.root, pods.has))
            except FieldwaveError as error:
                said = _say(f"{error}; the devices stay as they were", said)
    finally:
        plugin.end()
        _end(server)
        pods.end()
        with suppress(OSError):
            (options.folder / _ENDPOINT).unlink()


def _serve(plugin: DevicePlugin, options: PluginOptions) -> Any:
    path = options.folder / _ENDPOINT
    path.unlink(missing_ok=True)
    server = grpc.server(
        futures.ThreadPoolExecutor(_CALLS, thread_name_prefix="device-plugin"), maximum_concurrent_rpcs=_CALLS
    )
    server.add_generic_rpc_handlers((plugin.handlers(),))
    server.add_insecure_port(f"unix:{path}")
    server.start()
    return server


def _register(options: PluginOptions) -> None:
    request = api.RegisterRequest(
        version=_VERSION,
        endpoint=_ENDPOINT,
        resource_name=options.resource,
        options=api.DevicePluginOptions(get_preferred_allocation_available=True),
    )
    with grpc.insecure_channel(f"unix:{options.folder / _KUBELET}") as channel:
        call = channel.unary_unary(
            "/v1beta1.Registration/Register", api.RegisterRequest.SerializeToString, api.Empty.FromString
        )
        call(request, timeout=_REGISTER_SECONDS)
    _log.info("registered %s with the kubelet", options.resource)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Which socket it is: another one after a restart, under the same name."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def _end(server: Any) -> None:
    if server is not None:
        server.stop(0).wait()


def _say(text: str, said: str) -> str:
    if text != said:
        _log.warning("%s", text)
    return text


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return " ".join(f"{error}".split())
