"""Taking a port, with an error that says why it could not be taken."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

from fieldwave.errors import ConflictError, InputError, ServiceError

__all__ = ["check_free", "is_loopback", "listen", "listen_on_socket"]

_LONGEST_SOCKET = 107
"""Of ``sun_path`` on Linux, its terminating zero left out."""


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
    check_free(host, port, option)
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


def listen_on_socket(server: Any, path: Path) -> None:
    """Make ``server`` listen on a Unix socket that only this user can open.

    Raises:
        ConflictError: a process listens there, or there is a file that is no socket.
        InputError: the path is longer than sockets can have, or its folder is missing.
        ServiceError: it cannot be made for another reason.
    """
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        raise InputError(f"the path of socket {path} is longer than {_LONGEST_SOCKET} bytes; choose a shorter one")
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} for the socket {path}; make it first")
    if path.exists() and not path.is_socket():
        raise ConflictError(f"{path} exists and is no socket; choose another path for --socket")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(os.fspath(path))
        raise ConflictError(f"a process listens on {path}; choose another path for --socket")
    path.unlink(missing_ok=True)  # of a process that was killed
    mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise ServiceError(f"cannot listen on {path}: {error}") from None
    finally:
        os.umask(mask)


def check_free(host: str, port: int, option: str) -> None:
    """Bind the address for a moment: the system's answer has the reason, gRPC's has not.

    Raises:
        ConflictError, InputError, ServiceError: as `listen`.
    """
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
