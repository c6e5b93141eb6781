"""The HTTP side of a service, which is imported where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fieldwave.serving.answered import Answered
from fieldwave.serving.authentication import Authentication
from fieldwave.serving.certificates import server_context
from fieldwave.serving.models import Models
from fieldwave.serving.options import ServeOptions

if TYPE_CHECKING:
    from fieldwave.serving.http import HttpServer

__all__ = ["start_http"]

_SPARE_THREADS = 4
_HELD_MESSAGES = 8
"""So many of the largest requests fit into the memory for what clients are sending."""


def start_http(
    options: ServeOptions,
    port: int,
    models: Models,
    answered: Answered,
    authentication: Authentication | None,
    *,
    grpc_port: int,
) -> tuple[HttpServer, int]:
    """Listen and answer; return the server, which is to be stopped, and its port.

    Raises:
        ConflictError, InputError, ServiceError: as `fieldwave.serving.listen.listen`.
    """
    from fieldwave.serving.http import HttpServer
    from fieldwave.serving.http.app import App

    context = None
    if options.tls_cert is not None and options.tls_key is not None:
        context = server_context(options.tls_cert, options.tls_key, options.client_ca)
    app = App(
        models,
        answered,
        authentication,
        max_batch=options.max_batch,
        max_bytes=options.max_message_bytes,
        page=options.page,
        about={"grpc_port": grpc_port},
    )
    server = HttpServer(
        app,
        threads=options.places + _SPARE_THREADS,
        patience=options.receive_seconds,
        max_held_bytes=_HELD_MESSAGES * options.max_message_bytes,
    )
    try:
        return server, server.start(options.host, port, context)
    except BaseException:
        server.stop(0)
        raise
