"""``fieldwave services``: deploy, update, scale, list, show, logs, keys, token, delete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output, service_manifest
from fieldwave.cli.examples import examples
from fieldwave.cli.keys import Lifetime, show_token
from fieldwave.cli.options import Json, On, Quiet
from fieldwave.cli.service_view import coloured_state, facts_of, ready_of, source_of, tell
from fieldwave.cli.service_ways import Also, HttpPort, NoHttp, NoSocket, Socket, here, ways_of
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.deploy import Target

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Run packages as services, and look after them.",
    epilog=examples("fieldwave services deploy rn50.zip --name rn50", "fieldwave services list"),
)

_BUSY = ("refuse", "wait", "replace")
_RUNTIMES = ("process", "podman")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The service's name.")]
ImageOption = Annotated[str, typer.Option("--image", metavar="NAME:VERSION", help="Or the package of an image.")]
File = Path | None
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="On a cluster: cpus=2, memory=1Gi, ...")
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it answers, or at once.")]
Timeout = Annotated[float, typer.Option(help="Seconds until it must answer.")]


@app.command(epilog=examples("fieldwave services deploy rn50.zip --name rn50", "fieldwave predict rn50 cat.jpg"))
def deploy(
    source: Annotated[
        str, typer.Argument(metavar="[PACKAGE]", help="A file of 'fieldwave convert', or a model, NAME:VERSION.")
    ] = "",
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it; else as the package.")] = "",
    device: Annotated[str, typer.Option(help="What computes: cpu, rtl, rtl:NPU.")] = "cpu",
    image: ImageOption = "",
    port: Annotated[int, typer.Option(help="Where it listens; 0 for a free port, which it keeps.")] = 0,
    replicas: Annotated[int, typer.Option("--replicas", "-r", help="How many processes, each on a device.")] = 1,
    secure: Annotated[
        bool | None, typer.Option("--secure/--open", help="Whether callers need a key; else what is good there.")
    ] = None,
    when_busy: Annotated[
        str, typer.Option(help="When others hold all NPUs: refuse, wait or replace.", metavar="WHAT")
    ] = "refuse",
    runtime: Annotated[
        str, typer.Option(metavar="HOW", help="On this machine: process, or podman for the image itself.")
    ] = "process",
    host: Annotated[str, typer.Option(help="On this machine: the address to listen on.")] = "",
    tls_cert: Annotated[File, typer.Option(metavar="FILE", help="On this machine, TLS: certificate, PEM.")] = None,
    tls_key: Annotated[File, typer.Option(metavar="FILE", help="Its private key.")] = None,
    client_ca: Annotated[File, typer.Option(metavar="FILE", help="Who signs the clients' certificates.")] = None,
    ca: Annotated[File, typer.Option(metavar="FILE", help="What clients trust, if not the certificate.")] = None,
    http_port: HttpPort = None,
    socket: Socket = None,
    also: Also = None,
    on: On = "",
    settings: Settings = None,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a package as a service.

    It outlives this shell, and is restarted when it dies.
    """
    for option, said, known in ("--when-busy", when_busy, _BUSY), ("--runtime", runtime, _RUNTIMES):
        if said not in known:
            raise InputError(f"{option} {said} is unknown; use {' or '.join(known)}")
    package, called = source_of(source, image)
    name = name or called
    wanted: dict[str, Any] = {
        "device": device,
        "port": port,
        "replicas": replicas,
        "secure": secure,
        "when_busy": when_busy,
        "wait": wait,
        "timeout": timeout,
    }
    with output.progress() as progress, output.waiting(f"waiting for {name} to answer"):
        target = _target(on, settings, progress)
        if runtime != "process" or any((host, tls_cert, tls_key, client_ca, ca)):
            wanted |= here(target, runtime, host, tls_cert, tls_key, client_ca, ca)
        wanted |= ways_of(target, http_port, socket, also)
        service = target.deploy(package, name, **wanted)
    tell(service, as_json)
    output.hint(f"fieldwave predict {name} IMAGE{f' --on {on}' if on else ''}")


@app.command(epilog=examples("fieldwave services update rn50 better.zip", "fieldwave services update rn50 rn50:4"))
def update(
    name: Name,
    source: Annotated[
        str, typer.Argument(metavar="[PACKAGE]", help="What it serves from now on: a file, or NAME:VERSION.")
    ] = "",
    device: Annotated[str, typer.Option(help="What computes from now on: cpu, rtl, rtl:NPU.")] = "",
    image: ImageOption = "",
    http_port: HttpPort = None,
    socket: Socket = None,
    also: Also = None,
    no_http: NoHttp = False,
    no_socket: NoSocket = False,
    alone: Annotated[bool, typer.Option("--alone", help="No other package on its device any more.")] = False,
    on: On = "",
    settings: Settings = None,
    wait: Wait = True,
    timeout: Timeout = 600.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have a service serve another package, or on another device.

    Its name and address stay. Where it fails, the service goes on as it was.
    """
    package = source_of(source, image)[0] if source or image else None
    with output.progress() as progress, output.waiting(f"waiting for {name} to change"):
        target = _target(on, settings, progress)
        ways = ways_of(target, http_port, socket, also, no_http=no_http, no_socket=no_socket)
        if alone:
            ways["also"] = ()
        service = target.update(name, package, device=device or None, wait=wait, timeout=timeout, **ways)
    tell(service, as_json)
    output.hint(f"fieldwave services show {name}{f' --on {on}' if on else ''}")


@app.command(epilog=examples("fieldwave services scale rn50 2"))
def scale(
    name: Name,
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", help="How many processes, each on a device.")],
    on: On = "",
    wait: Wait = True,
    timeout: Timeout = 600.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Change how many processes serve.

    Clients that are opened from now on spread their calls over all of them.
    """
    with output.waiting(f"waiting for {replicas} replicas of {name}"):
        service = _target(on).scale(name, replicas, wait=wait, timeout=timeout)
    tell(service, as_json)
    output.hint(f"fieldwave services show {name}{f' --on {on}' if on else ''}")


@app.command("list", epilog=examples("fieldwave services list", "fieldwave services list --json"))
def list_services(on: On = "", as_json: Json = False) -> None:
    """List the services."""
    services = _target(on).list()
    if as_json:
        output.to_json([facts_of(service) for service in services])
    elif services:
        output.table(
            ["NAME", "STATE", "REPLICAS", "ADDRESS", "HTTP", "NETWORK", "DEVICE", "RESTARTS", "CREATED"],
            [
                [
                    *(s.name, s.state, ready_of(s), s.address, s.http[0].rpartition(":")[2] if s.http else "-"),
                    *("+".join((s.network, *s.also)), s.device, str(s.restarts), s.created),
                ]
                for s in services
            ],
        )
        for service in services:
            if service.reason:
                output.note(f"{service.name}: {service.reason}")
    else:
        from fieldwave.workspace import Workspace

        output.note(f"no services in {Workspace.find().root}" if not on else f"no services on {on}")
        output.hint("fieldwave services deploy PACKAGE --name NAME")


@app.command(epilog=examples("fieldwave services show rn50"))
def show(name: Name, on: On = "", as_json: Json = False) -> None:
    """Show one service: where it is, how it is."""
    service = _target(on).get(name)
    facts = facts_of(service)
    if as_json:
        output.to_json(facts)
        return
    facts["state"] = coloured_state(service)
    facts["replicas"] = ready_of(service)
    facts["addresses"] = " ".join(service.addresses) if len(service.addresses) > 1 else ""
    facts["secure"] = "yes" if service.secure else ""
    facts["http"], facts["also"] = " ".join(service.http), " ".join(service.also)
    del facts["host"], facts["port"]  # the address has them
    output.fields({key: value for key, value in facts.items() if value not in ("", None)})


@app.command(epilog=examples("fieldwave services logs rn50 --lines 20", "fieldwave services logs rn50 --follow"))
def logs(
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until Ctrl-C.")] = False,
    on: On = "",
) -> None:
    """Print what a service has written."""
    for line in _target(on).logs(name, lines=lines, follow=follow):
        output.data(line)


@app.command(epilog=examples("fieldwave services keys rn50", "fieldwave services keys rn50 --regenerate primary"))
def keys(
    name: Name,
    regenerate: Annotated[str, typer.Option(metavar="WHICH", help="Make primary or secondary anew first.")] = "",
    on: On = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print the two keys that open a service.

    While one is made anew, callers with the other notice nothing.
    """
    target = _target(on)
    if regenerate:
        target.regenerate_key(name, regenerate)  # type: ignore[arg-type]  # the name is checked there
    found = target.keys(name)
    if as_json:
        output.to_json({"primary": found.primary, "secondary": found.secondary})
    else:
        output.data(f"primary    {found.primary}\nsecondary  {found.secondary}")
    output.hint(f"fieldwave services token {name}")


@app.command(epilog=examples("fieldwave services token rn50 --lifetime 15m"))
def token(
    name: Name,
    lifetime: Lifetime = "1h",  # type: ignore[assignment]  # typer parses it
    on: On = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a token that opens a service for a while.

    It is signed with the primary key, sent as a key is, and names none.
    """
    show_token(_target(on).keys(name), name, lifetime, as_json)


@app.command(epilog=examples("fieldwave services delete rn50"))
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The services' names.")],
    timeout: Annotated[float, typer.Option(help="Seconds until it is killed; requests have at most 10.")] = 30.0,
    on: On = "",
    quiet: Quiet = False,
) -> None:
    """Stop services and remove all of them.

    The packages they came from stay.
    """
    target = _target(on)
    for name in names:
        with output.waiting(f"waiting for {name} to finish its requests"):
            target.delete(name, timeout=timeout)
        output.note(f"{name} is deleted")


app.command(epilog=service_manifest.EPILOG)(service_manifest.manifest)


def _target(
    on: str, settings: Sequence[str] | None = None, progress: output.Progress = lambda what, done: None
) -> Target:
    from fieldwave.deploy import target
    from fieldwave.deploy.kubernetes.settings import parse_settings
    from fieldwave.workspace import Workspace

    given = parse_settings(list(settings or ()))
    return target(Workspace.find(), on, settings=given, note=output.note, progress=progress)
