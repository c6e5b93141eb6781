"""``fieldwave compute``: create, attach, list, show, quota, delete."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.compute import Compute, Computes, ComputeStatus

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="What services can run on: this machine, clusters, boxes at the edge; their NPUs.",
    epilog=examples("fieldwave compute attach lab --context lab", "fieldwave compute show lab"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The compute target's name.")]
Location = Annotated[str, typer.Option(help="Where it is, for people to read.")]
Context = Annotated[str, typer.Option(help="Context of the kubeconfig file; its current one if not given.")]
Kubeconfig = Annotated[str, typer.Option(metavar="FILE", help="Else $KUBECONFIG, else ~/.kube/config.")]
Namespace = Annotated[str, typer.Option(help="Namespace of the services.")]
Selector = Annotated[
    list[str], typer.Option("--node-selector", metavar="KEY=VALUE", help="Only on nodes with this label.")
]
Resource = Annotated[str, typer.Option(help="The extended resource that stands for an NPU.")]

_COLOURS = {"Succeeded": "green", "Creating": "yellow", "Deleting": "yellow", "Failed": "red"}
_RESOURCE = "fieldwave.dev/npu"


@app.command(
    epilog=examples(
        "fieldwave compute attach lab --context lab --namespace vision",
        "fieldwave compute attach line3 --ssh fieldwave@line3.example",
    )
)
def attach(
    name: Name,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    namespace: Namespace = "default",
    node_selector: Selector = [],  # noqa: B006
    resource: Resource = _RESOURCE,
    ssh: Annotated[str, typer.Option(metavar="[USER@]HOST", help="A box at the edge, instead of a cluster.")] = "",
    port: Annotated[int, typer.Option(help="Of the box's sshd; 0 for ssh's own choice.")] = 0,
    identity: Annotated[str, typer.Option(metavar="FILE", help="Private key for the box.")] = "",
    ssh_config: Annotated[str, typer.Option(metavar="FILE", help="ssh's settings, instead of the user's.")] = "",
    folder: Annotated[str, typer.Option(help="Where Fieldwave keeps its things on the box.")] = "",
    location: Location = "",
    quiet: Quiet = False,
) -> None:
    """Take up a cluster or a box that is there already.

    Nothing is changed on it.
    """
    from fieldwave.compute import Compute

    if ssh and (context or kubeconfig or node_selector):
        raise InputError("--ssh names a box at the edge, --context, --kubeconfig and --node-selector a cluster")
    if ssh:
        # A path means the same file from every folder.
        described = Compute(
            name,
            "edge",
            location,
            destination=ssh,
            port=port,
            identity=_absolute(identity),
            config=_absolute(ssh_config),
            folder=folder,
            resource=resource,
        )
    else:
        described = _cluster(name, location, context, kubeconfig, namespace, node_selector, resource)
    _computes().attach(described)
    output.note(f"{name} is attached: {_where(described)}")
    output.hint(f"fieldwave compute show {name}")


@app.command(epilog=examples("fieldwave compute create lab --context lab --namespace vision --limit 4"))
def create(
    name: Name,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    namespace: Namespace = "fieldwave",
    node_selector: Selector = [],  # noqa: B006
    resource: Resource = _RESOURCE,
    limit: Annotated[int | None, typer.Option(min=0, help="The most NPUs that its services may hold.")] = None,
    plugin_image: Annotated[str, typer.Option(metavar="IMAGE", help="Runs the device plugin on its nodes.")] = "",
    location: Location = "",
    quiet: Quiet = False,
) -> None:
    """Make what services need on a cluster, and attach it.

    The namespace; with --limit a ResourceQuota; with --plugin-image the device plugin on every node.
    """
    described = _cluster(name, location, context, kubeconfig, namespace, node_selector, resource)
    with output.waiting(f"waiting for the cluster of {name}"):
        _computes().create(described, limit=limit, image=plugin_image)
    output.note(f"{name} is created: {_where(described)}")
    output.hint(f"fieldwave compute show {name}")


@app.command("list", epilog=examples("fieldwave compute list", "fieldwave compute list --json"))
def list_targets(as_json: Json = False) -> None:
    """List the compute targets of this workspace, this machine first."""
    computes = _computes()
    described = computes.list()
    if as_json:
        output.to_json([dataclasses.asdict(one) for one in described])
        return
    default = computes.workspace.settings.compute
    output.table(
        ["NAME", "KIND", "WHERE", "LOCATION", "DEFAULT"],
        [[one.name, one.kind, _where(one), one.location, "*" if one.name == default else ""] for one in described],
    )
    output.hint("fieldwave compute show NAME")


@app.command(epilog=examples("fieldwave compute show", "fieldwave compute show lab --json"))
def show(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The workspace's default if not given.")] = "",
    as_json: Json = False,
) -> None:
    """Show one compute target: what it is, how it is, who holds its NPUs."""
    described, status = _ask(name)
    facts = {**dataclasses.asdict(described), **_facts(status)}
    facts["location"] = status.location
    if as_json:
        output.to_json(facts)
        return
    npus, held, errors = facts.pop("npus"), facts.pop("held"), facts.pop("errors")
    facts["state"] = output.styled(status.state, fg=_COLOURS[status.state])
    facts["node_selector"] = ",".join(f"{key}={value}" for key, value in described.node_selector.items())
    if described.kind != "kubernetes":
        facts["namespace"] = facts["resource"] = ""
    if npus is not None:
        facts["NPUs"] = ", ".join(f"{value} {key}" for key, value in npus.items() if value is not None)
    shown = {key: value for key, value in facts.items() if value or key == "count"}
    width = output.fields(shown)
    for error in errors:
        output.data(f"{'error'.ljust(width)}  {error}")
    if held:
        output.data("")
        output.table(
            ["NPU", "HELD BY", "COUNT", "SINCE"],
            [[one["npu"], output.plain(one["holder"]), str(one["count"]), one["since"]] for one in held],
        )


@app.command(epilog=examples("fieldwave compute quota", "fieldwave compute quota lab --limit 4"))
def quota(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The workspace's default if not given.")] = "",
    limit: Annotated[int | None, typer.Option(min=0, help="Set the most NPUs that its services may hold.")] = None,
    no_limit: Annotated[bool, typer.Option("--no-limit", help="Remove the limit.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """NPUs of a compute target: limit, used, free.

    On a cluster the limit is a ResourceQuota of the namespace.
    """
    if limit is not None and no_limit:
        raise InputError("--limit and --no-limit contradict each other; give one of them")
    if limit is not None or no_limit:
        computes = _computes()
        computes.set_limit(name or computes.workspace.settings.compute, limit)
    described, status = _ask(name)
    if as_json:
        output.to_json({"name": described.name, "npus": _facts(status)["npus"], "errors": list(status.errors)})
        return
    npus = status.npus
    if npus is None:
        for error in status.errors:
            output.error(error)
        raise typer.Exit(1)
    output.table(
        ["NAME", "LIMIT", "USED", "ALLOCATABLE", "ALLOCATED", "FREE"],
        [
            [
                described.name,
                "none" if npus.limit is None else str(npus.limit),
                *map(str, (npus.used, npus.allocatable, npus.allocated, npus.free)),
            ]
        ],
    )
    for error in status.errors:
        output.note(error)


@app.command(epilog=examples("fieldwave compute delete lab"))
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The compute targets' names.")],
    force: Annotated[bool, typer.Option("--force", help="Forget it even if it cannot be reached.")] = False,
    quiet: Quiet = False,
) -> None:
    """Forget compute targets; of those that were created, remove what was made there.

    Refused while services run there.
    """
    computes = _computes()
    for name in names:
        with output.waiting(f"waiting for {name}"):
            computes.delete(name, force=force)
        output.note(f"{name} is deleted")


def _computes() -> Computes:
    from fieldwave.compute import Computes

    return Computes(users=_services)


def _services(compute: Compute) -> list[str]:
    """The services that run on a compute target, in words."""
    from fieldwave.deploy import target
    from fieldwave.workspace import Workspace

    return [f"service {service.name}" for service in target(Workspace.find(), compute.name).list()]


def _ask(name: str) -> tuple[Compute, ComputeStatus]:
    computes = _computes()
    described = computes.get(name or computes.workspace.settings.compute)
    with output.waiting(f"waiting for {described.name}"):
        return described, computes.status(described.name)


def _facts(status: ComputeStatus) -> dict[str, Any]:
    npus = status.npus
    names = ("limit", "used", "allocatable", "allocated", "free")
    return {
        "state": status.state,
        "errors": list(status.errors),
        "size": status.size,
        "count": status.count,
        "npus": {name: getattr(npus, name) for name in names} if npus is not None else None,
        "held": [dataclasses.asdict(one) for one in npus.held] if npus is not None else [],
    }


def _cluster(
    name: str,
    location: str,
    context: str,
    kubeconfig: str,
    namespace: str,
    labels: list[str],
    resource: str,
) -> Compute:
    from fieldwave.compute import Compute
    from fieldwave.compute.cluster import connect

    for label in labels:
        if "=" not in label:
            raise InputError(f"--node-selector {label!r} is no label, expected KEY=VALUE")
    described = Compute(
        name,
        "kubernetes",
        location,
        context=context,
        kubeconfig=_absolute(kubeconfig),
        namespace=namespace,
        node_selector=dict(label.split("=", 1) for label in labels),
        resource=resource,
    )
    connect(described).close()  # a wrong file or context fails before anything is written down
    return described


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def _where(described: Compute) -> str:
    if described.kind == "kubernetes":
        return f"context {described.context or '(current)'}, namespace {described.namespace}"
    return f"ssh {described.destination}" if described.kind == "edge" else "this machine"
