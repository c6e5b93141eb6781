"""The state of the service for grpc.health.v1: orchestrators and clients ask it before they send requests."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from fieldwave.wire.methods import PREDICTION_SERVICE

__all__ = ["Health"]

_SERVICES = ("", PREDICTION_SERVICE)


class Health:
    """NOT_SERVING at first, then what is reported, and NOT_SERVING for good from `drain` on."""

    def __init__(self) -> None:
        self._servicer = HealthServicer()
        self.report(False)

    def add_to(self, server: Any) -> None:
        """Serve grpc.health.v1 from ``server``, for ``""`` and for the prediction service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def report(self, healthy: bool) -> None:
        """Say whether the device answers."""
        state = health_pb2.HealthCheckResponse
        for service in _SERVICES:
            self._servicer.set(service, state.SERVING if healthy else state.NOT_SERVING)

    def drain(self) -> None:
        """Say NOT_SERVING from now on, whatever is reported."""
        self._servicer.enter_graceful_shutdown()
