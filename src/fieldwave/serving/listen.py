"""Taking a port, with an error that says why it could not be taken."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import Any

from fieldwave.errors import ConflictError, InputError, ServiceError

__all__ = ["is_loopback", "listen"]


def listen(server: Any, host: str, port: int, credentials: Any = None, *, option: str = "--grpc-port") -> int:
    """Make ``server`` listen on ``host`` and ``port``, 0 for a free one; return the port.

    Parameters:
        credentials: for TLS; None for plain text.
        option: by which users choose the port, for messages.

    Raises:
        ConflictError: the port is in use.
        InputError: the host is no address of this machine, or the port needs rights.
        ServiceError: the port cannot be taken for another reason.
    """
    _check(host, port, option)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is None:
            bound = int(server.add_insecure_port(address))
        else:
            bound = int(server.add_secure_port(address, credentials))
    except RuntimeError as error:
        # Somebody else was faster since the check.
        raise ServiceError(f"cannot listen on {address}: {error}") from None
    if bound == 0:
        raise ServiceError(f"cannot listen on {address}; choose another port or 0 for a free one")
    return bound


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check(host: str, port: int, option: str) -> None:
    """Bind the address for a moment: the system's answer has the reason, gRPC's has not."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"host {host!r} is unknown; use 127.0.0.1 for this machine alone") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            raise _reason(host, port, option, error) from None


def _reason(host: str, port: int, option: str, error: OSError) -> Exception:
    match error.errno:
        case errno.EADDRINUSE:
            return ConflictError(
                f"port {port} is in use on {host}; choose another with {option}, or 0 for a free one"
            )
        case errno.EACCES:
            return InputError(f"port {port} needs the rights of the administrator; choose one above 1023")
        case errno.EADDRNOTAVAIL:
            return InputError(f"{host} is no address of this machine; use 127.0.0.1 for this machine alone")
    return ServiceError(f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}")
