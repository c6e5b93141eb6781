"""A service's port, reserved for as long as its supervisor lives.

The reservation is a socket that is bound and never listens. While the serving process is down, the kernel then
gives the port to nobody: not to a program that asks for any free port, and not to the outgoing connection of a
client, which on one machine could otherwise connect to itself. The server may listen on the port all the same,
because both sockets have SO_REUSEADDR (socket(7)).
"""

from __future__ import annotations

import errno
import socket

from fieldwave.errors import ConflictError, InputError

__all__ = ["is_taken", "near", "reserve"]


def reserve(host: str, port: int) -> socket.socket:
    """A socket bound to ``port``, or to a free one when ``port`` is 0.

    Raises:
        ConflictError: somebody listens on that port.
        InputError: no such port, or one that this user may not have.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port {port} does not exist; choose one from 1 to 65535, or 0 for a free one")
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((host, port))
    except OSError as error:
        reservation.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(
                f"port {port} on {host} is taken by another process; choose another, or 0 for a free one"
            ) from error
        raise InputError(f"port {port} on {host} cannot be had: {error.strerror or error}") from error
    return reservation


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens on ``port``."""
    try:
        reserve(host, port).close()
    except ConflictError:
        return True
    return False


def near(host: str) -> str:
    """Where a machine reaches itself when something listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
