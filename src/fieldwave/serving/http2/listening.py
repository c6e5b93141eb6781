"""Sockets that are listened on, and those of clients who come."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["Listener", "listen"]

_BACKLOG = 512


@dataclass(frozen=True)
class Listener:
    """A socket that is listened on; it waits for nobody.

    Attributes:
        sock: its own.
        port: of TCP; 1 for a Unix socket.
    """

    sock: socket.socket
    port: int

    def accept(self) -> tuple[socket.socket, str] | None:
        """Who has come, and the peer as gRPC names it; None if nobody has, or no more files may be open.

        Raises:
            OSError: it is closed.
        """
        try:
            one, address = self.sock.accept()
        except BlockingIOError:
            return None
        except OSError:
            if self.sock.fileno() < 0:
                raise
            time.sleep(0.05)  # too many files are open: others close some meanwhile
            return None
        one.setblocking(False)
        if self.sock.family == socket.AF_UNIX:
            return one, "unix:"
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one, _peer(address)


def listen(address: str) -> Listener:
    """Listen on ``HOST:PORT`` or ``unix:PATH``.

    Raises:
        OSError: it cannot be listened on.
    """
    if address.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address.removeprefix("unix:"))
        listener.listen(_BACKLOG)
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0][0]
        dual = family is socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, int(port)), family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    listener.setblocking(False)
    return Listener(listener, 1 if listener.family == socket.AF_UNIX else int(listener.getsockname()[1]))


def _peer(address: Any) -> str:
    host, port = address[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
