"""The ways in which a service on this machine is called: its ports, its socket, the names of what it serves."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from fieldwave.deploy.target import Service, Source
from fieldwave.errors import ConflictError, InputError

__all__ = ["Way", "check_free", "check_way_ends", "check_ways"]

Way = Literal["http", "socket"]
"""Besides gRPC's port, which every service has."""
_WORDS: dict[Way, str] = {"http": "a port for HTTP", "socket": "a socket"}


def check_ways(
    port: int,
    http_port: int | None,
    in_podman: bool,
    socket: str | os.PathLike[str] | None,
    also: Sequence[Source],
) -> None:
    """Let it pass if a service can be called so. Raises InputError."""
    from fieldwave.serving import ServeOptions

    if in_podman and (socket or also):
        raise InputError(
            "a service in podman has no socket and only its image's package; leave out --socket and --also"
        )
    ServeOptions(package=Path(), grpc_port=port, http_port=http_port)


def check_way_ends(name: str, without: Collection[Way], wanted: Collection[Way], there: Collection[Way]) -> None:
    """Let it pass if these ways of a service can end.

    Args:
        wanted: those that the same change asks for.
        there: those that the service has.

    Raises:
        InputError: one is wanted as well, or is not there.
    """
    for way in without:
        if way in wanted:
            raise InputError(f"service {name!r} is to have {_WORDS[way]} and to have none; say one of the two")
        if way not in there:
            raise InputError(f"service {name!r} has no {_WORDS[way].removeprefix('a ')} that could end")


def check_free(services: Iterable[Service], host: str, *ports: int) -> None:
    """Let it pass if the ports are those of none of the services, which are all looked after; 0 is a free one.

    Between two lives of its serving process nobody listens on a service's port, and yet it is taken.

    Raises:
        ConflictError: a service has one.
    """
    for service in services if any(ports) else ():
        for port in {service.port, *(int(url.rpartition(":")[2]) for url in service.http)} & set(ports) - {0}:
            raise ConflictError(
                f"port {port} on {host} is taken by service {service.name!r}; choose another, or 0 for a free one"
            )
