"""A way to a service's pods from outside the cluster: through the API server, as ``kubectl port-forward`` has it.

Each connection to the port is one of Kubernetes' port-forwarding WebSockets (``v4.channel.k8s.io``): on channel 0
the bytes, on channel 1 what went wrong; the first message of each is the number of the port.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fieldwave.compute.cluster import cluster_errors
from fieldwave.deploy.kubernetes.objects import Objects
from fieldwave.deploy.kubernetes.pod import CONTAINER
from fieldwave.errors import HostError, ServiceError
from fieldwave.images.inside import GRPC_PORT

__all__ = ["Forward", "forward_if_outside"]

_log = logging.getLogger(__name__)
_PROTOCOL = "v4.channel.k8s.io"
_BYTES, _ERROR = 0, 1
_CHUNK = 1 << 15
_IN_A_CLUSTER = "KUBERNETES_SERVICE_HOST"  # Kubernetes sets it in every container


class Forward:
    """A port of loopback that leads to the pods of a service which are ready, one after the other.

    Attributes:
        address: ``127.0.0.1:PORT``.
        server_name: the name that the service's certificate has, since the address is another.

    Raises:
        HostError: the cluster cannot be reached, or refuses.
        ServiceError: no pod is ready.
    """

    def __init__(self, objects: Objects, name: str, server_name: str) -> None:
        self._objects = objects
        self._name = name
        self._turns = itertools.count()
        with self._opened():
            pass  # what is refused is told now, in the cluster's words; later it is but a connection that ends
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.server_name = server_name
        threading.Thread(target=self._accept, name=f"forward-{name}", daemon=True).start()

    def close(self) -> None:
        """Take no more connections; those that there are end when one of the sides ends them."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(here,), daemon=True).start()

    def _serve(self, here: socket.socket) -> None:
        with here:
            try:
                with self._opened() as there:
                    sender = threading.Thread(target=_send, args=(here, there), daemon=True)
                    sender.start()
                    _receive(there, here)
                    with suppress(OSError):
                        here.shutdown(socket.SHUT_RDWR)
                    sender.join()
            except (HostError, ServiceError) as error:
                _log.warning("%s", error)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """A WebSocket to the next pod that is ready."""
        from httpx2.websockets import HTTPXWSException, WebSocketUpgradeError
        from lightkube.config import client_adapter

        pod = self._next_pod()
        client, namespace = self._objects.client, self._objects.compute.namespace
        path = f"api/v1/namespaces/{namespace}/pods/{pod}/portforward"
        parameters = client_adapter.ConnectionParams(timeout=client._timeout)
        try:
            with (
                cluster_errors(self._objects.compute),
                client_adapter.Client(client.config, parameters) as http,
                http.websocket(path, subprotocols=[_PROTOCOL], params={"ports": f"{GRPC_PORT}"}) as there,
            ):
                yield there
        except WebSocketUpgradeError as error:
            code, cluster = error.response.status_code, self._objects.compute.name
            raise HostError(
                f"cluster {cluster} refused ({code}) to forward a port of pod {pod}; "
                "this user needs the verbs get and create of pods/portforward"
            ) from None
        except HTTPXWSException as error:
            raise HostError(f"the way to pod {pod} broke: {f'{error}' or type(error).__name__}") from error

    def _next_pod(self) -> str:
        pods = [str(pod.metadata.name) for pod in self._objects.pods(self._name) if _is_ready(pod)]
        if not pods:
            raise ServiceError(
                f"no pod of service {self._name!r} is ready; see fieldwave services show {self._name}"
            )
        return pods[next(self._turns) % len(pods)]


def forward_if_outside(objects: Objects, name: str, host: str) -> Forward | None:
    """A way to the service whose name in the cluster is ``host``; None where that name leads to it.

    Raises:
        HostError, ServiceError: as `Forward`.
    """
    if os.environ.get(_IN_A_CLUSTER):
        with suppress(OSError):
            socket.getaddrinfo(host, GRPC_PORT)
            return None
    return Forward(objects, name, host)


def _send(here: socket.socket, there: Any) -> None:
    with suppress(OSError):
        while data := here.recv(_CHUNK):
            try:
                there.send_bytes(bytes((_BYTES,)) + data)
            except Exception:  # the other side is gone; wsproto and the network each have their words for it
                return
    with suppress(Exception):
        there.close()


def _receive(there: Any, here: socket.socket) -> None:
    from httpx2.websockets import HTTPXWSException

    begun = set()
    try:
        while True:
            message = there.receive_bytes()
            channel, data = message[0], message[1:]
            if channel not in begun:  # the port's number
                begun.add(channel)
            elif channel == _BYTES:
                here.sendall(data)
            elif channel == _ERROR:
                _log.warning("%s", data.decode(errors="replace").strip())
                return
    except (HTTPXWSException, OSError):
        return


def _is_ready(pod: Any) -> bool:
    if pod.metadata.deletionTimestamp is not None:
        return False
    containers = (pod.status.containerStatuses if pod.status else None) or ()
    return any(one.name == CONTAINER and one.ready for one in containers)
