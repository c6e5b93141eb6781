"""What is where inside an image: the one place for those who build images and those who run them."""

from __future__ import annotations

__all__ = ["ALSO", "GRPC_PORT", "HTTP_PORT", "KEYS", "PACKAGE", "PROBE_PORT", "TLS", "USER"]

GRPC_PORT = 50051
PROBE_PORT = 50052
HTTP_PORT = 8080
"""REST and metrics, where they are asked for."""
PACKAGE = "fieldwave/package.zip"
"""Below the base's root for it; from inside always ``/opt/fieldwave/package.zip``."""
KEYS = "/etc/fieldwave/keys"
"""The folder of the service's keys, where it is given one."""
TLS = "/etc/fieldwave/tls"
"""The folder of ``tls.crt``, ``tls.key`` and ``ca.crt``, where it is given one."""
ALSO = "/etc/fieldwave/also"
"""The folder of packages that take turns with the image's, where it is given one."""
USER = 1000
"""User and group that serve."""
