"""The kubelet's probes: asked from outside the pod, on its address, as often as the pod says."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["Probe"]


@dataclass
class Probe:
    """One probe of one container.

    Attributes:
        said: what the pod says of it, as Kubernetes has it: a call of the health service, or a port that opens.
        failures, successes: one after another, up to the last one.
    """

    said: dict[str, Any]
    failures: int = 0
    successes: int = 0
    due: float = field(default_factory=lambda: 0.0)

    def is_due(self) -> bool:
        """Whether it is time to ask; the next time is a period later."""
        now = time.monotonic()
        if now < self.due:
            return False
        self.due = now + self.said.get("periodSeconds", 10)
        return True

    def ask(self, address: str) -> bool:
        """Ask once, and count."""
        good = self._answer(address, self.said.get("timeoutSeconds", 1))
        self.failures, self.successes = (0, self.successes + 1) if good else (self.failures + 1, 0)
        return good

    @property
    def has_failed(self) -> bool:
        return self.failures >= int(self.said.get("failureThreshold", 3))

    @property
    def has_succeeded(self) -> bool:
        return self.successes >= int(self.said.get("successThreshold", 1))

    def _answer(self, address: str, timeout: float) -> bool:
        try:
            if "tcpSocket" in self.said:
                socket.create_connection((address, self.said["tcpSocket"]["port"]), timeout).close()
                return True
            asked = self.said["grpc"]
            options = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
            with grpc.insecure_channel(f"{address}:{asked['port']}", options=options) as channel:
                request = health_pb2.HealthCheckRequest(service=asked.get("service", ""))
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        except (OSError, grpc.RpcError):
            return False
