"""``fieldwave weights``: pretrained weights that others publish, and files of weights; list, pull, show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fieldwave.zoo.weights import TensorFile

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Pretrained weights: those that are published, and files of your own.",
    epilog=examples("fieldwave weights list", "fieldwave weights pull resnet50"),
)


@app.command("list", epilog=examples("fieldwave weights list", "fieldwave weights list --json"))
def list_weights(as_json: Json = False) -> None:
    """List the published weights that can be pulled, and whether they are here."""
    from fieldwave.zoo.weights import cached, published, published_names

    sets = [published(name) for name in published_names()]
    if as_json:
        output.to_json(
            [
                {
                    "name": one.name,
                    "network": one.network,
                    "publisher": one.publisher,
                    "url": one.url,
                    "algorithm": one.algorithm,
                    "digest": one.digest,
                    "path": None if (path := cached(one.name)) is None else str(path),
                }
                for one in sets
            ]
        )
        return
    output.table(
        ["NAME", "NETWORK", "PUBLISHER", "CHECKED", "HERE"],
        [[one.name, one.network, one.publisher, one.check, "yes" if cached(one.name) else "no"] for one in sets],
    )


@app.command(
    epilog=examples(
        "fieldwave weights pull resnet50",
        "fieldwave weights pull resnet50 --mirror /media/usb",
        "fieldwave weights pull resnet50 --mirror https://mirror.example.org/weights",
    )
)
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The set's name. [dim]fieldwave weights list[/dim]")],
    mirror: Annotated[
        str,
        typer.Option(
            help="A folder or an http(s) address that holds the publisher's files under their names; "
            "or set FIELDWAVE_WEIGHTS_MIRROR."
        ),
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download published weights from their publisher, check them, and keep them.

    What broke off goes on where it ended. The path is printed.
    """
    from fieldwave.zoo.weights import published
    from fieldwave.zoo.weights import pull as pull_weights

    with output.progress() as progress, output.waiting(f"fetching {published(name).file}"):
        pulled = pull_weights(name, mirror=mirror, progress=progress)
    one = published(name)
    if as_json:
        output.to_json({"path": str(pulled.path), "sha256": pulled.sha256, "fresh": pulled.fresh})
    else:
        output.data(str(pulled.path))
        checked = f"checked: its {one.check}" if one.digest else f"not checked: {one.check}"
        output.note(f"{'pulled' if pulled.fresh else 'was there'}, {checked}")
        output.note(f"sha256 {pulled.sha256}")
    output.hint(f"fieldwave convert {one.network} --weights {name} --calibration PHOTOS --output {name}.zip")


@app.command(
    epilog=examples("fieldwave weights show resnet50-0676ba61.pth", "fieldwave weights show resnet50 --json")
)
def show(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A file, a checkpoint, a SavedModel's folder, or a pulled set.")
    ],
    as_json: Json = False,
) -> None:
    """Show the tensors of a file, and which network of the zoo they are for.

    Nothing of the file is run and no value is read.
    """
    from fieldwave.zoo.weights import find_weights, open_tensors

    with output.waiting(f"reading {file}"):
        tensors = open_tensors(find_weights(file))
        verdict = _verdict(tensors)
    if as_json:
        listed = [
            {"name": name, "shape": list(stored.shape), "dtype": stored.dtype}
            for name, stored in tensors.tensors.items()
        ]
        output.to_json({"format": tensors.format, "tensors": listed, **verdict})
        return
    output.table(
        ["TENSOR", "SHAPE", "TYPE"],
        [
            [name, "x".join(map(str, stored.shape)) or "scalar", stored.dtype]
            for name, stored in tensors.tensors.items()
        ],
    )
    output.data("")
    output.data(f"{len(tensors.tensors)} tensors, {verdict['values']:,} values, {tensors.format}")
    if verdict["network"] is None:
        output.data("of no network of the zoo, as far as the names tell")
        return
    classes = f", {verdict['classes']} classes" if verdict["classes"] else ""
    output.data(f"{verdict['network']}, variant {verdict['variant']}{classes}, in the names of {verdict['names']}")
    output.data("complete" if not verdict["complaint"] else f"not usable: {verdict['complaint']}")


def _verdict(tensors: TensorFile) -> dict[str, Any]:
    from math import prod

    from fieldwave.errors import WeightsError
    from fieldwave.zoo.weights import best_fit, check_fit

    values = sum(prod(stored.shape) for stored in tensors.tensors.values())
    fit = best_fit(tensors)
    if fit is None:
        return {"values": values, "network": None}
    complaint = ""
    try:
        check_fit(tensors, fit)
    except WeightsError as error:
        complaint = str(error)
    return {
        "values": values,
        "network": fit.network.name,
        "variant": fit.variant,
        "names": fit.family.name,
        "classes": fit.network.outputs[0].shape[-1],
        "complaint": complaint,
    }
