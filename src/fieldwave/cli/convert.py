"""``fieldwave convert``: a network of the zoo to a package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fieldwave.conversion import Conversion

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave convert --network resnet50 --weights random:0 --calibration photos --output rn50.zip",
        "fieldwave convert --network digits --calibration digits/ --npu sim16 --output digits.zip",
    )
)
def convert(
    network: Annotated[str, typer.Option(help="Its name in the zoo, such as resnet50 or digits.")],
    calibration: Annotated[
        Path, typer.Option(help="Folder of JPEG or PNG files such as the service will see, 16 or more.")
    ],
    output_file: Annotated[Path, typer.Option("--output", "-o", help="The package to write.")],
    weights: Annotated[
        str, typer.Option(help="A .safetensors file, or random:SEED; the network's own if not given.")
    ] = "",
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Folder with a sub-folder of images for each class, to measure the accuracy on."),
    ] = None,
    npu: Annotated[
        list[str] | None,
        typer.Option(help="Compile a program for this NPU too; may be repeated. [dim]fieldwave npu list[/dim]"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a trained network into an int8 package.

    It holds the quantized network, its preprocessing and labels, and a report of float against int8.
    """
    from fieldwave.conversion import convert as convert_network

    with output.progress() as progress:
        made = convert_network(
            network,
            weights=weights,
            calibration=calibration,
            evaluation=evaluation,
            npu=npu or (),
            output=output_file,
            progress=progress,
        )
    if as_json:
        output.to_json({"path": str(made.path), "digest": made.package.digest, "report": made.report.to_json()})
    else:
        _print(made)
    output.hint(f"fieldwave services deploy {made.path} --name {made.path.stem}")


def _print(made: Conversion) -> None:
    report = made.report
    output.data(f"{made.path}  {made.path.stat().st_size / 1e6:.1f} MB  {made.package.digest}")
    output.data(f"float against int8 on {report.images} images")
    if report.agreement is not None:
        output.data(f"  same first class  {report.agreement:7.2%}")
    if report.float_accuracy is not None and report.int8_accuracy is not None:
        output.data(f"  accuracy          {report.float_accuracy:7.2%} float, {report.int8_accuracy:7.2%} int8")
    output.data("  signal to noise, worst layers")
    for layer in report.worst(3):
        output.data(f"    {layer.snr:5.1f} dB  {layer.tensor}")
