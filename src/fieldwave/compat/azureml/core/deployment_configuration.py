"""``AksWebservice.deploy_configuration``: what is checked and what it means here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import Any

from fieldwave.compat.azureml.exceptions import WebserviceException

__all__ = ["AksServiceDeploymentConfiguration"]

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{,61}[a-z0-9])?")
_POSITIVE = (
    "autoscale_min_replicas",
    "autoscale_max_replicas",
    "autoscale_refresh_seconds",
    "autoscale_target_utilization",
    "cpu_cores",
    "memory_gb",
    "scoring_timeout_ms",
    "replica_max_concurrent_requests",
    "max_request_wait_time",
    "num_replicas",
    "gpu_cores",
    "period_seconds",
    "initial_delay_seconds",
    "timeout_seconds",
    "success_threshold",
    "failure_threshold",
)


@dataclass(frozen=True)
class AksServiceDeploymentConfiguration:
    """How a service is to be deployed.

    Heeded are the replicas, the keys, whether keys are asked for, and tags and description. What else scripts can
    say is checked as the retired service did, and has no meaning here: a service takes what it needs.

    Raises:
        WebserviceException: what contradicts itself; everything that is wrong is told at once.
    """

    autoscale_enabled: bool | None = None
    autoscale_min_replicas: int | None = None
    autoscale_max_replicas: int | None = None
    autoscale_refresh_seconds: int | None = None
    autoscale_target_utilization: int | None = None
    collect_model_data: bool | None = None
    auth_enabled: bool | None = None
    cpu_cores: float | None = None
    memory_gb: float | None = None
    enable_app_insights: bool | None = None
    scoring_timeout_ms: int | None = None
    replica_max_concurrent_requests: int | None = None
    max_request_wait_time: int | None = None
    num_replicas: int | None = None
    primary_key: str | None = field(default=None, repr=False)
    secondary_key: str | None = field(default=None, repr=False)
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None
    description: str | None = None
    gpu_cores: int | None = None
    period_seconds: int | None = None
    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    namespace: str | None = None
    token_auth_enabled: bool | None = None
    compute_target_name: str | None = None
    cpu_cores_limit: float | None = None
    memory_gb_limit: float | None = None
    blobfuse_enabled: bool | None = None

    def __post_init__(self) -> None:
        self.validate_configuration()

    @property
    def replicas(self) -> int:
        """How many are to run: those asked for, else the fewest that autoscaling would keep, else one."""
        return self.num_replicas or self.autoscale_min_replicas or 1

    @property
    def secure(self) -> bool:
        """Whether a key is asked for; where nothing is said, it is."""
        return self.auth_enabled is not False

    def validate_configuration(self) -> None:
        """Raise WebserviceException with everything that is wrong."""
        wrong = []
        for name in _POSITIVE:
            value: Any = getattr(self, name)
            if value is not None and not value > 0:
                wrong.append(f"Invalid configuration, {name} must be greater than zero.")
        scaling = [
            one.name
            for one in fields(self)
            if one.name.startswith("autoscale_") and one.name != "autoscale_enabled"
        ]
        if self.autoscale_enabled is False and self.num_replicas is None:
            wrong.append("Invalid configuration, autoscale disabled but num_replicas not provided.")
        if self.autoscale_enabled and self.num_replicas is not None:
            wrong.append("Invalid configuration, autoscale enabled and num_replicas provided.")
        if not self.autoscale_enabled:
            wrong += [
                f"Invalid configuration, autoscale is not enabled, but {name} is provided."
                for name in scaling
                if getattr(self, name) is not None
            ]
        least, most = self.autoscale_min_replicas, self.autoscale_max_replicas
        if least is not None and most is not None and least > most:
            wrong.append(
                "Invalid configuration, autoscale_min_replicas cannot be greater than autoscale_max_replicas."
            )
        if self.auth_enabled and self.token_auth_enabled:
            wrong.append("Invalid configuration, auth_enabled and token_auth_enabled cannot both be True.")
        if self.namespace is not None and not _NAMESPACE.fullmatch(self.namespace):
            wrong.append(
                f"Invalid configuration, {self.namespace!r} is no namespace: lower-case letters, digits and '-'."
            )
        if wrong:
            raise WebserviceException("\n".join(wrong))
