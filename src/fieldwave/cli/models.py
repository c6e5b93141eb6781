"""``fieldwave models``: register, list, show, tag, alias, download, copy, logs, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.cli.pairs import read_pairs

if TYPE_CHECKING:
    from fieldwave.registry import RegisteredModel, Registry

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Register models in this workspace, and look after their versions.",
    epilog=examples(
        "fieldwave models register rn50.zip --name resnet50 --tag team=vision", "fieldwave models list"
    ),
)

Reference = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="The model; its latest version if none.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", "-t", help="KEY=VALUE; may be repeated.")]
Properties = Annotated[
    list[str] | None, typer.Option("--property", help="KEY=VALUE, which stays; may be repeated.")
]


@app.command(
    epilog=examples(
        "fieldwave models register rn50.zip --name resnet50 --tag team=vision",
        "fieldwave models register saved_model/ --name resnet50",
    )
)
def register(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A package, an ONNX file, a SavedModel or folder.")],
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it; else as the file.")] = "",
    tag: Tags = None,
    prop: Properties = None,
    description: Annotated[str, typer.Option(help="What it is, in a sentence.")] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Store a file or folder as the next version of a model."""
    model = _registry().register(
        path, name or path.stem, tags=read_pairs(tag), properties=read_pairs(prop), description=description
    )
    if as_json:
        output.to_json(_facts(model))
    else:
        output.data(f"{model.id}  {output.size(model.size)}  {model.digest}")
    output.hint(f"fieldwave models show {model.id}")


@app.command("list", epilog=examples("fieldwave models list", "fieldwave models list resnet50 --tag team=vision"))
def list_models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only the versions of this model.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="KEY or KEY=VALUE that it must have.")
    ] = None,
    prop: Annotated[list[str] | None, typer.Option("--property", help="The same for a property.")] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the highest version of each.")] = False,
    as_json: Json = False,
) -> None:
    """List the models of this workspace."""
    models = _registry().find(name or None, tags=tag or (), properties=prop or (), latest=latest)
    if as_json:
        output.to_json([_facts(model) for model in models])
    elif models:
        output.table(
            ["MODEL", "KIND", "SIZE", "CREATED", "ALIASES", "TAGS"],
            [
                [m.id, m.kind, output.size(m.size), m.created, ",".join(m.aliases), output.pairs(m.tags)]
                for m in models
            ],
        )
    else:
        output.note("no such models in this workspace")
        output.hint("fieldwave models register PACKAGE --name NAME")


@app.command(epilog=examples("fieldwave models show resnet50", "fieldwave models show resnet50:3 --json"))
def show(reference: Reference, as_json: Json = False) -> None:
    """Show one version: what it is, what is said of it."""
    facts = _facts(_registry().get(reference))
    if as_json:
        output.to_json(facts)
        return
    facts["aliases"] = ", ".join(facts["aliases"])
    output.fields({key: output.pairs(value) if isinstance(value, dict) else value for key, value in facts.items()})


@app.command(
    epilog=examples(
        "fieldwave models tag resnet50:3 stage=production", "fieldwave models tag resnet50:3 --remove stage"
    )
)
def tag(
    reference: Reference,
    pairs: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Tags to set.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to take away; may be repeated.")] = None,
    prop: Properties = None,
    description: Annotated[str | None, typer.Option(help="What it is, in a sentence.")] = None,
    quiet: Quiet = False,
) -> None:
    """Change what is said of a version; its bytes stay as they are."""
    registry = _registry()
    model = registry.update(
        registry.get(reference),
        add_tags=read_pairs(pairs),
        remove_tags=remove or (),
        add_properties=read_pairs(prop),
        description=description,
    )
    output.data(f"{model.id}  {output.pairs(model.tags)}")


@app.command(epilog=examples("fieldwave models alias resnet50:3 production"))
def alias(
    reference: Reference,
    name: Annotated[str, typer.Argument(metavar="ALIAS", help="Another name for this version.")],
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    quiet: Quiet = False,
) -> None:
    """Give a version another name, such as production; it may move to another version later."""
    registry = _registry()
    model = registry.get(reference)
    if remove:
        registry.remove_alias(model.name, name)
        output.note(f"{model.name}:{name} is no more")
        return
    model = registry.alias(model, name)
    output.data(f"{model.name}:{name} is {model.id}")


@app.command(
    epilog=examples(
        "fieldwave models download resnet50:3 --output models/",
        "fieldwave models download resnet50:3 --source --output original/",
    )
)
def download(
    reference: Reference,
    folder: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("."),
    source: Annotated[bool, typer.Option("--source", help="What it was converted from, instead.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that are there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Write a version's files into a folder."""
    registry = _registry()
    model = registry.get(reference)
    if source:
        model = registry.source(model)
        output.note(f"{reference} was converted from {model.id}")
    for path in registry.download(model, folder, overwrite=force):
        output.data(str(path))


@app.command(
    epilog=examples(
        "fieldwave models copy resnet50:3 oci://registry.example/team",
        "fieldwave models copy resnet50:3 /media/disk/store",
        "fieldwave models copy resnet50:3 --from /media/disk/store",
    )
)
def copy(
    reference: Reference,
    destination: Annotated[
        str, typer.Argument(metavar="[DESTINATION]", help="A store's folder, or oci://HOST/PREFIX; else this one.")
    ] = "",
    origin: Annotated[str, typer.Option("--from", metavar="STORE", help="Copy from there.")] = "",
    renumber: Annotated[bool, typer.Option("--next", help="As the next version there, if need be.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy a version with its logs to another store, or from one: a registry, or a disk that is carried."""
    from fieldwave.errors import InputError
    from fieldwave.registry import Registry
    from fieldwave.store import open_store
    from fieldwave.workspace import Workspace

    if bool(destination) == bool(origin):
        raise InputError("name one other store: DESTINATION to copy to it, or --from STORE to copy from it")
    own = Workspace.find().store
    target = open_store(destination) if destination else own
    registry = Registry(open_store(origin) if origin else own)
    model = registry.get(reference)
    with output.waiting(f"copying {model.id} to {target.address}"):
        copied = registry.copy(model, target, renumber=renumber)
    if as_json:
        output.to_json(_facts(copied))
    else:
        output.data(f"{copied.id}  {copied.digest}  {target.address}")


@app.command(epilog=examples("fieldwave models logs resnet50-int8:1"))
def logs(reference: Reference) -> None:
    """Print the log of the job that made a version; it stays when the job's files are deleted."""
    from fieldwave.errors import NotFoundError
    from fieldwave.jobs.convert_work import LOG

    registry = _registry()
    model = registry.get(reference)
    found = registry.attachments(model, LOG)
    if not found:
        raise NotFoundError(f"model {model.id} has no log: it was registered, not made by a job")
    for log in found:
        for line in log.decode(errors="replace").splitlines():
            output.data(output.plain(line))


@app.command(epilog=examples("fieldwave models delete resnet50:2 --yes"))
def delete(
    references: Annotated[list[str], typer.Argument(metavar="NAME:VERSION", help="The versions to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option(help="Also where a compute target cannot be asked whether it uses one.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Delete versions; what uses one prevents it, on this machine and on every compute target."""
    from fieldwave.deploy import users
    from fieldwave.registry import Registry
    from fieldwave.workspace import Workspace

    workspace = Workspace.find()
    registry = Registry(workspace.store, users=users(workspace, unknown="ignore" if force else "refuse"))
    models = [registry.get(_exact(reference)) for reference in references]
    if not yes and not typer.confirm(f"Delete {', '.join(model.id for model in models)}?", err=True):
        raise typer.Exit(1)
    for model in models:
        registry.delete(model)
        output.note(f"{model.id} is deleted")


def _registry() -> Registry:
    from fieldwave.workspace import Workspace

    return Workspace.find().registry


def _exact(reference: str) -> str:
    from fieldwave.errors import InputError

    if ":" not in reference:
        raise InputError(f"{reference!r} names no version; write {reference}:VERSION, so that the right one goes")
    return reference


def _facts(model: RegisteredModel) -> dict[str, Any]:
    names = ("id", "kind", "digest", "size", "created", "description", "source")
    facts = {name: getattr(model, name) for name in names}
    return {
        **facts,
        "aliases": list(model.aliases),
        "tags": dict(model.tags),
        "properties": dict(model.properties),
        "facts": dict(model.facts),
    }
