"""How a service on a box is: from what podman says of its container and what its server answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fieldwave.deploy.edge.box import Box
from fieldwave.deploy.edge.record import Record
from fieldwave.deploy.target import State
from fieldwave.errors import FieldwaveError, HostError
from fieldwave.processes.child import exit_text, one_line

__all__ = ["Condition", "condition"]

FAILED_AFTER = 3
"""Deaths of a server that was never ready until its service counts as failed."""
STARTUP_SECONDS = 120
"""How long a server may be silent after its start before it counts as one that hangs."""
_FORWARD_SECONDS = 10
_RESTART_SECONDS = 5
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse


@dataclass(frozen=True)
class Condition:
    """A service's state, and why."""

    state: State
    reason: str = ""
    restarts: int = 0


def condition(box: Box, record: Record, container: Mapping[str, Any] | None, time: int) -> Condition:
    """How a service is.

    Parameters:
        container: what ``podman inspect`` says of its container; None where there is none.
        time: of the box's clock.

    Raises:
        HostError: the box cannot be reached.
    """
    if container is None:
        return Condition("Failed", "its pod is not there; update or delete the service")
    state = container["State"]
    restarts = int(container.get("RestartCount") or 0)
    if state["Status"] == "running":
        age = time - _seconds(state["StartedAt"])
        answer = _ask(box, record, age)
        if answer == _SERVING:
            return Condition("Healthy", restarts=restarts)
        last = _last_words(box, record)
        if answer is None and restarts >= FAILED_AFTER:
            return Condition("Failed", last or "it keeps dying before it is ready", restarts)
        if answer is None and age > STARTUP_SECONDS:
            return Condition("Unhealthy", "it runs and does not answer", restarts)
        if answer is None:
            return Condition(
                "Transitioning", f"it starts; it last said: {last}" if last else "it starts", restarts
            )
        return Condition("Unhealthy", last or "it says that it does not serve", restarts)
    if state.get("OOMKilled"):
        return Condition("Failed", "the box ran out of memory and killed it", restarts)
    reason = _last_words(box, record) or f"it ended with {exit_text(int(state.get('ExitCode') or 0))}"
    if time - _seconds(state["FinishedAt"]) > _RESTART_SECONDS and restarts < FAILED_AFTER:
        # Podman starts again what dies, at once; this one was stopped, or the box was restarted.
        start = f"start it there with 'podman pod start {record.pod}'"
        return Condition("Failed", f"it is stopped; {start}: {reason}", restarts)
    return Condition("Failed" if restarts >= FAILED_AFTER else "Transitioning", reason, restarts)


def _ask(box: Box, record: Record, age: float) -> bytes | None:
    """What the server answers to a health check; None where nobody does."""
    import grpc

    with grpc.insecure_channel(
        f"unix:{box.ssh.forward(record.probe_port)}", options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        try:
            return bytes(channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=2))
        except grpc.RpcError:
            pass
    if age < _FORWARD_SECONDS:
        return None
    # It may be up and the sshd there forward nothing.
    said = box.call("health", record.name).text.strip()
    return bytes.fromhex(said) if said else None


def _last_words(box: Box, record: Record) -> str:
    try:
        lines = [line for line in box.call("logs", record.name, "20", "once").text.splitlines() if line.strip()]
    except HostError:
        raise
    except FieldwaveError:
        return ""
    return one_line(lines[-1]) if lines else ""


def _seconds(stamp: str) -> float:
    """Seconds since 1970 of podman's time, which has nanoseconds."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", stamp)).timestamp()
