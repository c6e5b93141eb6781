"""A gRPC service that answers what a test tells it to, on a free port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class Script:
    """The calls that a scripted service has received.

    Attributes:
        port: where it listens.
        requests: the bytes of each call.
        metadata: what came with each call.
        peers: the connection of each call.
    """

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.metadata: list[dict[str, Any]] = []
        self.peers: list[str] = []

    def received(self, request: bytes, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.peers.append(context.peer())


@contextmanager
def scripted(
    *, credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1", **answers: Answer
) -> Iterator[Script]:
    """Serve the methods in ``answers``: Predict, GetModelMetadata, Check."""
    script = Script()

    def handler(answer: Answer) -> grpc.RpcMethodHandler:
        def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
            script.received(request, context)
            return answer(request, context)

        return grpc.unary_unary_rpc_method_handler(behave)

    services = {"Check": "grpc.health.v1.Health"}
    server = grpc.server(futures.ThreadPoolExecutor(4))
    for method, answer in answers.items():
        service = services.get(method, "tensorflow.serving.PredictionService")
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler(answer)}),)
        )
    if credentials is None:
        script.port = server.add_insecure_port(f"{address}:0")
    else:
        script.port = server.add_secure_port(f"{address}:0", credentials)
    server.start()
    try:
        yield script
    finally:
        server.stop(None).wait()


def failing(code: grpc.StatusCode, text: str, times: int = 1_000_000, then: bytes = b"") -> Answer:
    """Fail so many times with a status, then answer."""
    left = times

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        nonlocal left
        left -= 1
        if left >= 0:
            context.abort(code, text)
        return then

    return answer
