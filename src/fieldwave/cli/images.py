"""``fieldwave images``: base, build, list, show, logs, push, copy, delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.cli.pairs import read_pairs

if TYPE_CHECKING:
    from fieldwave.images import Base, Image, Images
    from fieldwave.registry import RegisteredModel

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Build images for containers, without a daemon, and look after their versions.",
    epilog=examples("fieldwave images build resnet50:3", "fieldwave images push resnet50 registry.example/team"),
)

Reference = Annotated[str, typer.Argument(metavar="NAME[:VERSION]", help="The image; its latest version if none.")]
Architecture = Annotated[str, typer.Option("--arch", help="amd64 or arm64.")]


@app.command(
    epilog=examples(
        "fieldwave images base",
        "fieldwave images base --mirror /media/debian",
        "fieldwave images base registry.example/python:3.11-slim-bookworm --name python",
        "fieldwave images base --list",
    )
)
def base(
    source: Annotated[
        str,
        typer.Argument(
            metavar="[SOURCE]",
            help="A root filesystem's archive, an OCI layout, HOST/NAME:TAG; else one is made of Debian packages.",
        ),
    ] = "",
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it.")] = "debian",
    mirror: Annotated[str, typer.Option(help="Debian's packages come from here: an address or a folder.")] = "",
    arch: Architecture = "amd64",
    wheels: Annotated[
        Path | None, typer.Option(help="Fill this folder with the runtime's wheels instead, for an offline site.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the bases that are there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make the base that images stand on, or fetch one, and keep it in the workspace's store."""
    from fieldwave.images import add_base, bases, make_base
    from fieldwave.images.wheels import copy_to
    from fieldwave.workspace import Workspace

    store = Workspace.find().store
    if wheels is not None:
        with output.progress() as progress:
            for path in copy_to(wheels, arch, progress):
                output.data(str(path))
        output.hint(f"fieldwave images build PACKAGE --wheels {wheels}")
        return
    if listed:
        _list_bases(bases(store), as_json)
        return
    with output.progress() as progress:
        if source:
            made = add_base(store, source, name, architecture=arch, progress=progress)
        else:
            made = make_base(store, name, architecture=arch, mirror=mirror, progress=progress)
    if as_json:
        output.to_json(_base_facts(made))
    else:
        output.data(f"{made.id}  linux/{made.architecture}  {output.size(made.size)}  {made.digest}")
    output.hint(f"fieldwave images build PACKAGE --base {made.name}")


@app.command(
    epilog=examples(
        "fieldwave images build resnet50:3 --tag team=vision",
        "fieldwave images build rn50.zip --name resnet50 --base registry.example/python:3.11-slim-bookworm",
        "fieldwave images build resnet50 --wheels wheels/",
    )
)
def build(
    source: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="A registered model, NAME[:VERSION], or a package's file.")
    ],
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it; else as the model or file.")] = "",
    base: Annotated[
        str,
        typer.Option(help="What it stands on: a base's name, an archive, a layout, HOST/NAME:TAG; else debian."),
    ] = "",
    tag: Annotated[list[str] | None, typer.Option("--tag", "-t", help="KEY=VALUE; may be repeated.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE written into the image; may be repeated.")
    ] = None,
    arch: Architecture = "amd64",
    wheels: Annotated[
        Path | None, typer.Option(help="A folder with the runtime's wheels, instead of the network.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build an image that serves a package: a base, the runtime, and the package as the last layer."""
    from fieldwave.workspace import Workspace

    workspace = Workspace.find()
    package, called = _package(source)
    with output.progress() as progress:
        image = workspace.images.build(
            package,
            name or called,
            base=base or workspace.base,
            tags=read_pairs(tag),
            labels=read_pairs(label),
            architecture=arch,
            wheels=wheels,
            progress=progress,
        )
    if as_json:
        output.to_json(_facts(image))
    else:
        output.data(f"{image.id}  {output.size(image.size)}  {image.digest}")
    output.hint(f"fieldwave services deploy --image {image.id} --name {image.name}")


@app.command("list", epilog=examples("fieldwave images list", "fieldwave images list resnet50 --tag team=vision"))
def list_images(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only the versions of this image.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="KEY or KEY=VALUE that it must have.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="Only the highest version of each.")] = False,
    as_json: Json = False,
) -> None:
    """List the images of this workspace."""
    images = _images().find(name or None, tags=tag or (), latest=latest)
    if as_json:
        output.to_json([_facts(image) for image in images])
    elif images:
        output.table(
            ["IMAGE", "NETWORK", "MODEL", "SIZE", "CREATED", "TAGS"],
            [
                [i.id, i.network, i.model.partition("@")[0], output.size(i.size), i.created, output.pairs(i.tags)]
                for i in images
            ],
        )
    else:
        output.note("no such images in this workspace")
        output.hint("fieldwave images build PACKAGE --name NAME")


@app.command(epilog=examples("fieldwave images show resnet50", "fieldwave images show resnet50:3 --json"))
def show(reference: Reference, as_json: Json = False) -> None:
    """Show one version: what is in it, what is said of it."""
    facts = _facts(_images().get(reference))
    if as_json:
        output.to_json(facts)
        return
    output.fields({key: output.pairs(value) if isinstance(value, dict) else value for key, value in facts.items()})


@app.command(epilog=examples("fieldwave images logs resnet50:3"))
def logs(reference: Reference) -> None:
    """Print the log of an image's build."""
    images = _images()
    for line in images.log(images.get(reference)):
        output.data(line)


@app.command(epilog=examples("fieldwave images push resnet50:3 registry.example/team"))
def push(
    reference: Reference,
    registry: Annotated[str, typer.Argument(metavar="HOST[/PREFIX]", help="The registry, who is logged in to.")],
    quiet: Quiet = False,
) -> None:
    """Push an image, with its build log, to a registry, as HOST/PREFIX/NAME:VERSION."""
    images = _images()
    image = images.get(reference)
    with output.waiting(f"pushing {image.id} to {registry}"):
        pushed = images.push(image, registry)
    output.data(pushed)
    output.hint(f"podman run --rm -p 50051:50051 -e FIELDWAVE_INSECURE=1 {pushed}")


@app.command(
    epilog=examples(
        "fieldwave images copy resnet50:3 resnet50.tar",
        "fieldwave images copy resnet50:3 /media/stick/store",
        "fieldwave images copy resnet50:3 oci://registry.example/team",
    )
)
def copy(
    reference: Reference,
    destination: Annotated[
        str,
        typer.Argument(metavar="DESTINATION", help="An archive (.tar), a store's folder, or oci://HOST/PREFIX."),
    ],
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite an archive that is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Copy an image to an archive that podman, docker and containerd load, or to another store."""
    from fieldwave.store import LayoutStore, RegistryStore

    images = _images()
    image = images.get(reference)
    if destination.endswith(".tar"):
        with output.waiting(f"writing {destination}"):
            images.export(image, destination, overwrite=force)
        output.data(f"{destination}  {image.reference()}")
        output.hint(f"podman load -i {destination}")
        return
    remote = destination.startswith("oci://")
    target = RegistryStore(destination) if remote else LayoutStore(destination)
    with output.waiting(f"copying {image.id} to {destination}"):
        copied = images.copy(image, target)
    output.data(f"{copied.id}  {copied.digest}  {target.address}")


@app.command(epilog=examples("fieldwave images delete resnet50:2 --yes"))
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
    from fieldwave.errors import InputError
    from fieldwave.images import Images
    from fieldwave.workspace import Workspace

    for reference in references:
        if ":" not in reference:
            raise InputError(
                f"{reference!r} names no version; write {reference}:VERSION, so that the right one goes"
            )
    workspace = Workspace.find()
    images = Images(workspace.store, users=users(workspace, unknown="ignore" if force else "refuse"))
    found = [images.get(reference) for reference in references]
    if not yes and not typer.confirm(f"Delete {', '.join(image.id for image in found)}?", err=True):
        raise typer.Exit(1)
    for image in found:
        images.delete(image)
        output.note(f"{image.id} is deleted")


def _images() -> Images:
    from fieldwave.workspace import Workspace

    return Workspace.find().images


def _package(source: str) -> tuple[Path | RegisteredModel, str]:
    """What to build from, and what to call it: a file where there is one, else a registered model."""
    from fieldwave.workspace import Workspace

    path = Path(source)
    if path.is_file() or path.suffix == ".zip" or "/" in source:
        return path, path.stem
    model = Workspace.find().registry.get(source)
    return model, model.name


def _list_bases(found: list[Base], as_json: bool) -> None:
    if as_json:
        output.to_json([_base_facts(base) for base in found])
    elif found:
        output.table(
            ["BASE", "PLATFORM", "SIZE", "DIGEST", "FROM"],
            [[b.id, f"linux/{b.architecture}", output.size(b.size), b.digest[:19], b.reference] for b in found],
        )
    else:
        output.note("no bases in this workspace")
        output.hint("fieldwave images base")


def _base_facts(base: Base) -> dict[str, Any]:
    names = ("id", "digest", "size", "architecture", "python", "origin", "reference")
    return {name: getattr(base, name) for name in names}


def _facts(image: Image) -> dict[str, Any]:
    names = ("id", "digest", "size", "created", "network", "package", "model", "platform", "base", "fieldwave")
    facts = {name: getattr(image, name) for name in names}
    return {**facts, "tags": dict(image.tags), "labels": dict(image.labels), "exported": image.reference()}
