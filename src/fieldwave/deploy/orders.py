"""What a supervisor tells its serving processes: lines of JSON on their standard input.

The first line is the assignment. Those after it are orders: another package to serve from now on. When the input
ends, the supervisor is gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Assignment", "Order", "encode", "read_orders"]


@dataclass(frozen=True)
class Assignment:
    """What a serving process is to do.

    Attributes:
        name: the service's.
        package: the package's file.
        digest: of the package.
        keys: the folder of its keys; empty where callers need none.
        tls_cert, tls_key, client_ca: files for TLS; empty for none.
        container: the image to run in a container, as podman calls it; empty for none.
        http_port: for REST and metrics; 0 for a free one, None for none.
        socket: path of a Unix socket to listen on as well; empty for none.
        also: files of the packages that take turns with the first.
    """

    name: str
    package: str
    digest: str
    device: str
    host: str
    port: int
    when_busy: str = "refuse"
    keys: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    client_ca: str = ""
    container: str = ""
    http_port: int | None = None
    socket: str = ""
    also: tuple[str, ...] = ()

    def elsewhere(self) -> Assignment:
        """The same for a replica that is not the first: on free ports, without the socket."""
        return replace(self, port=0, http_port=None if self.http_port is None else 0, socket="")

    def where(self, other: Assignment) -> Assignment:
        """The same on the ports that ``other`` has, unless another one is said."""
        kept = None if self.http_port is None else self.http_port or other.http_port or 0
        return replace(self, port=other.port, http_port=kept)

    def differs_only_in_package(self, other: Assignment) -> bool:
        """Whether a process that does one can go on with the other."""
        known = {"package": "", "digest": "", "when_busy": ""}
        return {**asdict(self), **known} == {**asdict(other), **known}


@dataclass(frozen=True)
class Order:
    """To serve another package from now on.

    Attributes:
        number: what the answer is told by.
        package: its file.
    """

    number: str
    package: str


def encode(message: Assignment | Order) -> bytes:
    """As a line."""
    return json.dumps(asdict(message)).encode() + b"\n"


def read_orders(descriptor: int = 0) -> tuple[Assignment, Iterator[Order]]:
    """The assignment, and the orders as they come; they end with the supervisor.

    Raises:
        EOFError: there is no assignment.
    """
    lines = _lines(descriptor)
    first = next(lines, None)
    if first is None:
        raise EOFError("no assignment on standard input; services are started by 'fieldwave services deploy'")
    return Assignment(**_known(Assignment, first)), (Order(**_known(Order, line)) for line in lines)


def _known(kind: type[Any], line: bytes) -> dict[str, Any]:
    said = json.loads(line)
    return {key: said[key] for key in kind.__dataclass_fields__ if key in said}


def _lines(descriptor: int) -> Iterator[bytes]:
    # Not through sys.stdin: a thread that waits in it cannot be left behind at the end of the process.
    rest = b""
    while data := os.read(descriptor, 65536):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
