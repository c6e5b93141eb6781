"""``fieldwave convert``: a network of the zoo to a package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave convert --network resnet50 --weights random:0 --calibration photos --output rn50.zip"
    )
)
def convert(
    network: Annotated[str, typer.Option(help="Its name in the zoo: resnet50, digits.")],
    calibration: Annotated[Path, typer.Option(help="Folder of images such as the service will see.")],
    output_file: Annotated[Path, typer.Option("--output", "-o", help="The package to write.")],
    weights: Annotated[
        str, typer.Option(help="A .safetensors file, or random:SEED; the network's own if not given.")
    ] = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a trained network into a package: int8, with its preprocessing, labels and accuracy report."""
    from fieldwave.convert import convert as convert_network

    with output.progress() as progress:
        package = convert_network(
            network, weights=weights, calibration=calibration, output=output_file, progress=progress
        )
