"""What a cluster has to offer: its version and the kinds that it knows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fieldwave.errors import InputError

__all__ = ["EVERYTHING", "Offers", "parse_version"]

_KINDS = frozenset(
    {
        "apps/v1/Deployment",
        "autoscaling/v2/HorizontalPodAutoscaler",
        "gateway.networking.k8s.io/v1/GRPCRoute",
        "networking.k8s.io/v1/NetworkPolicy",
        "policy/v1/PodDisruptionBudget",
        "v1/Secret",
        "v1/Service",
    }
)


@dataclass(frozen=True)
class Offers:
    """What may stand in a manifest.

    Attributes:
        version: of the server, major and minor.
        kinds: ``apiVersion/Kind`` of what it knows.
    """

    version: tuple[int, int] = (1, 27)
    kinds: frozenset[str] = field(default=_KINDS)

    def has(self, api_version: str, kind: str) -> bool:
        """Whether the server knows this kind in this version."""
        return f"{api_version}/{kind}" in self.kinds


EVERYTHING = Offers()
"""Every kind that a manifest may have, in the form that Kubernetes 1.27 and later take."""


def parse_version(text: str) -> tuple[int, int]:
    """Major and minor from ``1.27``, ``v1.27.3`` or ``1.20+``. Raises InputError when it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    if found is None:
        raise InputError(f"{text!r} is no version of Kubernetes, expected one such as 1.30")
    return int(found[1]), int(found[2])
