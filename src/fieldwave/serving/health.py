"""The state of the service for grpc.health.v1: orchestrators and clients ask it before they send requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer

from fieldwave.serving.receiving import Receiving
from fieldwave.serving.status import BusyError, status_of
from fieldwave.wire.methods import HEALTH_SERVICE, INFERENCE_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE

__all__ = ["Health"]

_SERVICES = ("", PREDICTION_SERVICE, MODEL_SERVICE, INFERENCE_SERVICE)


class Health:
    """NOT_SERVING at first, then what is reported, and NOT_SERVING for good from `drain` on."""

    def __init__(self) -> None:
        self._servicer = _EndingHealthServicer()
        self.report(False)

    def add_to(self, server: Any, receiving: Receiving, *, watch: bool = True) -> None:
        """Serve grpc.health.v1 from ``server``, for ``""`` and for the services that answer.

        Parameters:
            receiving: where questions are waited for.
            watch: False for ``Check`` alone.
        """

        def question(requests: Iterator[Any], context: Any) -> Any:
            try:
                request = receiving.next(requests, context)
            except BusyError as error:
                context.abort(*status_of(error))
            if request is None:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call ended without a request")
            return request

        def check(requests: Iterator[Any], context: Any) -> Any:
            return self._servicer.Check(question(requests, context), context)

        def follow(requests: Iterator[Any], context: Any, send: Any) -> None:
            self._servicer.Watch(question(requests, context), context, send)

        follow.experimental_non_blocking = True  # type: ignore[attr-defined]
        coding = {
            "request_deserializer": health_pb2.HealthCheckRequest.FromString,
            "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
        }
        # As taking streams, which on the wire is the same: gRPC would wait for a single request for ever.
        handlers = {"Check": grpc.stream_unary_rpc_method_handler(check, **coding)}
        if watch:
            handlers["Watch"] = grpc.stream_stream_rpc_method_handler(follow, **coding)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(HEALTH_SERVICE, handlers),))

    def report(self, healthy: bool) -> None:
        """Say whether the device answers."""
        state = health_pb2.HealthCheckResponse
        for service in _SERVICES:
            self._servicer.set(service, state.SERVING if healthy else state.NOT_SERVING)

    def drain(self) -> None:
        """Say NOT_SERVING from now on, whatever is reported, and end the streams of those who watch."""
        self._servicer.enter_graceful_shutdown()
        self._servicer.end_watches()


class _EndingHealthServicer(HealthServicer):  # type: ignore[misc]
    """gRPC's own, whose watchers would else hold up a server that stops for as long as it lets them."""

    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=True)
        self._watches: set[_Watch] = set()

    def Watch(self, request: Any, context: Any, send_response_callback: Any = None) -> None:
        watch = _Watch(send_response_callback)
        self._watches.add(watch)
        context.add_callback(lambda: self._watches.discard(watch))
        super().Watch(request, context, watch.send)

    def end_watches(self) -> None:
        for watch in tuple(self._watches):
            watch.send(None)


class _Watch:
    """One stream; it ends once, by None, and what is sent after that is dropped."""

    def __init__(self, send: Callable[[Any], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._ended = False

    def send(self, response: Any) -> None:
        with self._lock:
            if not self._ended:
                self._ended = response is None
                self._send(response)
