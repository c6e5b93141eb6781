"""A second port that answers health checks and nothing else, in plain text.

A kubelet has neither keys nor certificates: where the service wants certificates of its clients, this is what it
probes.
"""

from __future__ import annotations

from fieldwave.serving.health import Health
from fieldwave.serving.http2 import Http2Server
from fieldwave.serving.listen import listen
from fieldwave.serving.receiving import Receiving

__all__ = ["Probe"]

_CHECKS = 8
_CALLS = 16
_LARGEST_BYTES = 4096
_PATIENCE_SECONDS = 5.0
_AGE_SECONDS = 300.0


class Probe:
    """``grpc.health.v1.Health`` ``Check`` of ``health`` on a port of its own."""

    def __init__(self, health: Health) -> None:
        self._receiving = Receiving(_CHECKS, _PATIENCE_SECONDS)
        self._grpc = Http2Server(
            calls=_CALLS,
            largest_message=_LARGEST_BYTES,
            receiving=self._receiving,
            patience=_PATIENCE_SECONDS,
            age=_AGE_SECONDS,
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
