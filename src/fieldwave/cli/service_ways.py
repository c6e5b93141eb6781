"""How a service is called, as options of the commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli.service_view import source_of
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.deploy import Target

__all__ = ["Also", "HttpPort", "NoHttp", "NoSocket", "Socket", "here", "ways_of"]

HttpPort = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="A port for REST, metrics and the page; 0 for a free one, which it keeps."),
]
Socket = Annotated[Path | None, typer.Option(metavar="FILE", help="On this machine: a Unix socket as well.")]
Also = Annotated[
    list[str] | None,
    typer.Option(metavar="PACKAGE", help="Another that takes turns on the device; repeat."),
]
NoHttp = Annotated[bool, typer.Option("--no-http", help="No port for REST, metrics and the page any more.")]
NoSocket = Annotated[bool, typer.Option("--no-socket", help="On this machine: no Unix socket any more.")]


def here(target: Target, runtime: str, host: str, *files: Path | None) -> dict[str, Any]:
    """What only services on this machine are told."""
    from fieldwave.deploy import Exposure, LocalTarget

    if not isinstance(target, LocalTarget):
        raise InputError("--runtime, --host, --tls-cert, --tls-key, --client-ca and --ca are for this machine")
    return {"runtime": runtime, "exposure": Exposure(host or "127.0.0.1", *files)}


def ways_of(
    target: Target,
    http_port: int | None,
    socket: Path | None,
    also: Sequence[str] | None,
    *,
    no_http: bool = False,
    no_socket: bool = False,
) -> dict[str, Any]:
    """What only services on machines of their own are told: how else they are called, and what else they serve."""
    from fieldwave.deploy import LocalTarget
    from fieldwave.deploy.edge import EdgeTarget

    if not isinstance(target, LocalTarget) and (socket or no_socket):
        raise InputError("--socket and --no-socket are for this machine")
    if not isinstance(target, LocalTarget | EdgeTarget) and also:
        raise InputError("--also is for single machines; on a cluster each service has a package and a device")
    if not isinstance(target, LocalTarget | EdgeTarget) and (no_http or http_port is not None):
        raise InputError(
            "--http-port and --no-http are for single machines; on a cluster HTTP has port 8080: "
            "--set http=true, --set http=false"
        )
    sources = None if also is None else [source_of(one, "")[0] for one in also]
    without = [way for way, ends in (("http", no_http), ("socket", no_socket)) if ends]
    said = {"http_port": http_port, "socket": socket, "also": sources, "without": without or None}
    return {name: value for name, value in said.items() if value is not None}
