"""The port that speaks gRPC without gRPC's library, which is imported where there is one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from fieldwave.serving.answered import Answered
from fieldwave.serving.authentication import Authentication
from fieldwave.serving.models import Models
from fieldwave.serving.options import ServeOptions
from fieldwave.wire.messages import HealthCheckResponse
from fieldwave.wire.methods import HEALTH_SERVICE

if TYPE_CHECKING:
    from fieldwave.serving.direct import DirectServer

__all__ = ["start_direct"]

_SPARE_THREADS = 24


class _Service(Protocol):
    def handlers(self, methods: Any) -> grpc.GenericRpcHandler: ...


def start_direct(
    options: ServeOptions,
    port: int,
    services: Iterable[_Service],
    models: Models,
    answered: Answered,
    authentication: Authentication | None,
) -> tuple[DirectServer, int]:
    """Listen and answer; return the server, which is to be stopped, and its port.

    Raises:
        ConflictError, InputError, ServiceError: as `fieldwave.serving.listen.listen`.
    """
    from fieldwave.serving.direct import DirectMethods, DirectServer

    def check(data: bytes) -> bytes:
        status: bytes = HealthCheckResponse(status=1 if models.serving else 2).SerializeToString()
        return status

    methods = DirectMethods(answered)
    health = {"Check": methods.describing("health_check", check)}
    server = DirectServer(
        [
            *(service.handlers(methods) for service in services),
            grpc.method_handlers_generic_handler(HEALTH_SERVICE, health),
        ],
        authentication,
        max_message_bytes=options.max_message_bytes,
        patience=options.receive_seconds,
        threads=options.places + _SPARE_THREADS,
        max_age=options.max_connection_age_seconds,
    )
    return server, server.start(options.host, port)
