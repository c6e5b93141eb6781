"""A second port that answers health checks and nothing else, in plain text.

A kubelet has neither keys nor certificates: where the service wants certificates of its clients, this is what it
probes.
"""

from __future__ import annotations

from concurrent import futures
from typing import Any

import grpc

from fieldwave.serving.health import Health
from fieldwave.serving.listen import listen
from fieldwave.serving.receiving import Receiving

__all__ = ["Probe"]

_CHECKS = 8
_CALLS = 16
_LARGEST_BYTES = 4096
_PATIENCE_SECONDS = 5.0


class Probe:
    """``grpc.health.v1.Health`` ``Check`` of ``health`` on a port of its own."""

    def __init__(self, health: Health) -> None:
        self._receiving = Receiving(_CHECKS, _PATIENCE_SECONDS)
        self._grpc: Any = grpc.server(
            futures.ThreadPoolExecutor(_CALLS, thread_name_prefix="fieldwave-probe"),
            maximum_concurrent_rpcs=_CALLS,
            options=(
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", _LARGEST_BYTES),
                ("grpc.server_handshake_timeout_ms", round(1000 * _PATIENCE_SECONDS)),
            ),
        )
        health.add_to(self._grpc, self._receiving, watch=False)

    def start(self, host: str, port: int) -> int:
        """Listen and answer; return the port.

        Raises:
            ConflictError, InputError, ServiceError: as `listen`.
        """
        port = listen(self._grpc, host, port, option="--probe-port")
        self._grpc.start()
        return port

    def end_overdue(self) -> None:
        """End the calls whose question does not come."""
        self._receiving.end_overdue()

    def stop(self) -> None:
        """Stop at once."""
        self._receiving.end()
        self._grpc.stop(0).wait()
