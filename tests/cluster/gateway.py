"""A Gateway (gateway.networking.k8s.io): one port with TLS, and GRPCRoutes that say where calls go."""

from __future__ import annotations

import base64
import itertools
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from tests.cluster.state import Cluster, Object

__all__ = ["gateway"]

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_CLASS = "stand-in"


@contextmanager
def gateway(cluster: Cluster, name: str, namespace: str, secret: str) -> Iterator[int]:
    """A Gateway that is there while this lasts, and its port on loopback.

    Parameters:
        secret: with its certificate, in its namespace.
    """
    data = cluster.find("Secret", secret, namespace)["data"]
    key, certificate = (base64.b64decode(data[name]) for name in ("tls.key", "tls.crt"))
    router = _Router(cluster, f"{namespace}/{name}")
    server = grpc.server(futures.ThreadPoolExecutor(16), options=_OPTIONS)
    server.add_generic_rpc_handlers((router,))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
    listener = {"name": "grpc", "protocol": "HTTPS", "port": port, "tls": tls}
    spec = {"gatewayClassName": _CLASS, "listeners": [listener]}
    addresses = [{"type": "IPAddress", "value": "127.0.0.1"}]
    described = {"metadata": {"name": name}, "spec": spec, "status": {"addresses": addresses}}
    with cluster.lock:
        cluster.put("Gateway", described, namespace)
    try:
        yield port
    finally:
        with cluster.lock:
            cluster.delete("Gateway", name, namespace)
        server.stop(1).wait()
        router.close()


class _Router(grpc.GenericRpcHandler):
    """Hands calls on as they are to the endpoints of the Service that a route names, in turn."""

    def __init__(self, cluster: Cluster, reference: str) -> None:
        self._cluster = cluster
        self._reference = reference
        self._channels: dict[str, grpc.Channel] = {}
        self._turns = itertools.count()
        self._lock = threading.Lock()

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        # Every kind of call is one of streams, as far as the wire goes.
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._call(details, requests, context)
        )

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def _call(self, details: Any, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        metadata = tuple((one.key, one.value) for one in details.invocation_metadata)
        addresses = self._endpoints(dict(metadata))
        if addresses is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no route matches")
        if not addresses:
            context.abort(grpc.StatusCode.UNAVAILABLE, "no endpoint is ready")
        assert addresses is not None
        channel = self._channel(addresses[next(self._turns) % len(addresses)])
        sent = [(key, value) for key, value in metadata if not key.startswith((":", "user-agent"))]
        answers = channel.stream_stream(details.method)(requests, timeout=context.time_remaining(), metadata=sent)
        try:
            yield from answers
            context.set_trailing_metadata(answers.trailing_metadata())
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())

    def _endpoints(self, headers: dict[str, str]) -> list[str] | None:
        """``host:port`` of all that a route which matches may lead to; None where no route does."""
        with self._cluster.lock:
            for route in self._cluster.all("GRPCRoute"):
                if self._is_ours(route) and (backend := _backend(route, headers)) is not None:
                    namespace = route["metadata"]["namespace"]
                    slices = self._cluster.find("EndpointSlice", f"{backend['name']}-addresses", namespace)
                    ready = [
                        one for one in (slices or {"endpoints": []})["endpoints"] if one["conditions"]["ready"]
                    ]
                    return [f"{address}:{backend['port']}" for one in ready for address in one["addresses"]]
        return None

    def _is_ours(self, route: Object) -> bool:
        own = route["metadata"]["namespace"]
        parents = route["spec"]["parentRefs"]
        return self._reference in [f"{one.get('namespace', own)}/{one['name']}" for one in parents]

    def _channel(self, address: str) -> grpc.Channel:
        with self._lock:
            if address not in self._channels:
                options = (*_OPTIONS, ("grpc.enable_http_proxy", 0))
                self._channels[address] = grpc.insecure_channel(address, options=options)
            return self._channels[address]


def _backend(route: Object, headers: dict[str, str]) -> Object | None:
    for rule in route["spec"]["rules"]:
        for match in rule.get("matches", ()):
            if all(headers.get(one["name"]) == one["value"] for one in match["headers"]):
                found: Object = rule["backendRefs"][0]
                return found
    return None
