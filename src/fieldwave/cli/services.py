"""``fieldwave services``: deploy, list, show, logs, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.keys import Lifetime, show_token
from fieldwave.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fieldwave.deploy import LocalTarget, Service

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Run packages as services on this machine, and look after them.",
    epilog=examples("fieldwave services deploy rn50.zip --name rn50", "fieldwave services list"),
)

_COLOURS = {
    "Healthy": "green",
    "Transitioning": "yellow",
    "Unhealthy": "red",
    "Failed": "red",
    "Unschedulable": "red",
}

Name = Annotated[str, typer.Argument(metavar="NAME", help="The service's name.")]


@app.command(epilog=examples("fieldwave services deploy rn50.zip --name rn50", "fieldwave predict rn50 cat.jpg"))
def deploy(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="What 'fieldwave convert' wrote.")],
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it; else as the file.")] = "",
    device: Annotated[str, typer.Option(help="What computes: cpu, rtl, rtl:NPU.")] = "cpu",
    port: Annotated[int, typer.Option(help="Where it listens; 0 for a free port, which it keeps.")] = 0,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return when it answers, or at once.")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds until it must answer.")] = 600.0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a package as a service.

    It outlives this shell, and is restarted when it dies.
    """
    name = name or package.stem
    with output.waiting(f"waiting for {name} to answer"):
        service = _target().deploy(package, name, device=device, port=port, wait=wait, timeout=timeout)
    if as_json:
        output.to_json(_facts(service))
    else:
        output.data(f"{service.name} is {_state(service)} on {service.address}")
    output.hint(f"fieldwave predict {name} IMAGE")


@app.command("list", epilog=examples("fieldwave services list", "fieldwave services list --json"))
def list_services(as_json: Json = False) -> None:
    """List the services of this workspace."""
    target = _target()
    services = target.list()
    if as_json:
        output.to_json([_facts(service) for service in services])
    elif services:
        output.table(
            ["NAME", "STATE", "ADDRESS", "NETWORK", "DEVICE", "RESTARTS", "CREATED"],
            [[s.name, s.state, s.address, s.network, s.device, str(s.restarts), s.created] for s in services],
        )
    else:
        output.note(f"no services in {target.workspace.root}")
        output.hint("fieldwave services deploy PACKAGE --name NAME")


@app.command(epilog=examples("fieldwave services show rn50"))
def show(name: Name, as_json: Json = False) -> None:
    """Show one service: where it is, how it is."""
    service = _target().get(name)
    facts = _facts(service)
    if as_json:
        output.to_json(facts)
        return
    facts["state"] = _state(service)
    width = max(map(len, facts))
    for key, value in facts.items():
        if value not in ("", None) and key not in ("host", "port"):  # the address has them
            output.data(f"{key.ljust(width)}  {value}")


@app.command(epilog=examples("fieldwave services logs rn50 --lines 20", "fieldwave services logs rn50 --follow"))
def logs(
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-l", min=0, help="How many of the last lines.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print what comes, until Ctrl-C.")] = False,
) -> None:
    """Print what a service has written."""
    for line in _target().logs(name, lines=lines, follow=follow):
        output.data(line)


@app.command(epilog=examples("fieldwave services token rn50 --lifetime 15m"))
def token(
    name: Name,
    lifetime: Lifetime = "1h",  # type: ignore[assignment]  # typer parses it
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a token that opens a service for a while, signed with its primary key.

    It is sent as a key is, and names none. Regenerating the primary key ends it.
    """
    show_token(_target().keys(name), name, lifetime, as_json)


@app.command(epilog=examples("fieldwave services delete rn50"))
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The services' names.")],
    timeout: Annotated[float, typer.Option(help="Seconds until it is killed; requests have at most 10.")] = 30.0,
    quiet: Quiet = False,
) -> None:
    """Stop services and remove all of them.

    The packages they came from stay.
    """
    target = _target()
    for name in names:
        with output.waiting(f"waiting for {name} to finish its requests"):
            target.delete(name, timeout=timeout)
        output.note(f"{name} is deleted")


def _target() -> LocalTarget:
    from fieldwave.deploy import LocalTarget

    return LocalTarget()


def _state(service: Service) -> str:
    return output.styled(service.state, fg=_COLOURS.get(service.state))


def _facts(service: Service) -> dict[str, Any]:
    names = ("name", "state", "address", "host", "port", "pid", "restarts", "network", "device")
    return {name: getattr(service, name) for name in (*names, "package", "created", "reason")}
