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

__all__ = ["Also", "HttpPort", "Socket", "here", "ways_of"]

HttpPort = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="A port for REST, metrics and the page; 0 for a free one, which it keeps."),
]
Socket = Annotated[Path | None, typer.Option(metavar="FILE", help="On this machine: a Unix socket as well.")]
Also = Annotated[
    list[str] | None,
    typer.Option(metavar="PACKAGE", help="On this machine: another that takes turns on the device; repeat."),
]


def here(target: Target, runtime: str, host: str, *files: Path | None) -> dict[str, Any]:
    """What only services on this machine are told."""
    from fieldwave.deploy import Exposure, LocalTarget

    if not isinstance(target, LocalTarget):
        raise InputError("--runtime, --host, --tls-cert, --tls-key, --client-ca and --ca are for this machine")
    return {"runtime": runtime, "exposure": Exposure(host or "127.0.0.1", *files)}


def ways_of(
    target: Target, http_port: int | None, socket: Path | None, also: Sequence[str] | None
) -> dict[str, Any]:
    """What only services on machines of their own are told: how else they are called, and what else they serve."""
    from fieldwave.deploy import LocalTarget
    from fieldwave.deploy.edge import EdgeTarget

    if not isinstance(target, LocalTarget) and (socket or also):
        raise InputError("--socket and --also are for this machine")
    if not isinstance(target, LocalTarget | EdgeTarget) and http_port is not None:
        raise InputError("--http-port is for single machines; on a cluster HTTP has port 8080: --set http=true")
    sources = None if also is None else [source_of(one, "")[0] for one in also]
    said = {"http_port": http_port, "socket": socket, "also": sources}
    return {name: value for name, value in said.items() if value is not None}
