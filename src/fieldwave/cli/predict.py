"""``fieldwave predict``: what a running service says of images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.cli.pictures import bar
from fieldwave.errors import InputError

if TYPE_CHECKING:
    from fieldwave.client import PredictionClient
    from fieldwave.postprocess import Prediction

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_BAR_WIDTH = 24
_PATIENCE, _SIMULATED_PATIENCE = 10.0, 600.0


@app.command(
    epilog=examples("fieldwave predict rn50 cat.jpg --top 5", "fieldwave predict localhost:50051 cat.jpg dog.png")
)
def predict(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="The name of a service of this workspace, or HOST:PORT.")
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="JPEG or PNG files.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many classes to show.")] = 5,
    input_name: Annotated[str, typer.Option("--input", help="The input that takes an image.")] = "images",
    output_name: Annotated[
        str, typer.Option("--output", help="The output with the scores; the only one if not given.")
    ] = "",
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for each image.", show_default="10, or 600 where the device is simulated"),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score images with a service and print the likeliest classes."""
    client, labels, patience = _connect(service)
    timeout = timeout or patience
    found: list[tuple[Path, list[Prediction]]] = []
    with client, output.progress() as progress:
        for number, image in enumerate(images):
            progress(f"scoring {image.name}", number / len(images))
            found.append((image, _score(client, image, input_name, output_name, labels, top, timeout)))
    if as_json:
        output.to_json(
            [
                {"image": str(image), "predictions": [dataclasses.asdict(one) for one in predictions]}
                for image, predictions in found
            ]
        )
        return
    for image, predictions in found:
        output.data(output.styled(str(image), bold=True))
        for one in predictions:
            output.data(
                f"  {one.probability:6.4f}  {bar(one.probability, _BAR_WIDTH).ljust(_BAR_WIDTH)}  {one.label}"
            )


def _connect(service: str) -> tuple[PredictionClient, tuple[str, ...], float]:
    """A client, the labels that the service's package has, and how long an image may take, in seconds."""
    if ":" in service:
        from fieldwave.client import PredictionClient

        return PredictionClient(service), (), _PATIENCE
    from fieldwave.deploy import LocalTarget

    target = LocalTarget()
    found = target.get(service)
    patience = _SIMULATED_PATIENCE if found.device.startswith("rtl") else _PATIENCE
    running = found.wait(patience)
    return running.client(), target.package(service).manifest.labels, patience


def _score(
    client: PredictionClient,
    image: Path,
    input_name: str,
    output_name: str,
    labels: tuple[str, ...],
    top: int,
    timeout: float,
) -> list[Prediction]:
    from fieldwave.postprocess import top_k

    scores = client.score_file(image, input_name, [output_name] if output_name else None, timeout)
    if isinstance(scores, dict):
        raise InputError(f"the service has several outputs; name one with --output: {', '.join(scores)}")
    # A list keeps the batch dimension, of size 1.
    return top_k(scores[0][0] if isinstance(scores, list) else scores, labels, top)
