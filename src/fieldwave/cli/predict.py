"""``fieldwave predict``: what a network says of images."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import objects, output
from fieldwave.cli.access import Access, Ca, ClientCert, ClientKey, KeyFile, TlsOption
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, On, Quiet
from fieldwave.cli.pictures import bar
from fieldwave.cli.scorer import Scorer, open_scorer
from fieldwave.errors import FieldwaveError, InputError, NotFoundError, StorageError

if TYPE_CHECKING:
    from fieldwave.postprocess import Detector, Prediction

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_BAR_WIDTH = 24
_TOP = 5


@app.command(
    epilog=examples(
        "fieldwave predict rn50 cat.jpg --top 5",
        "fieldwave predict rn50 cat.jpg --on line3",
        "fieldwave predict localhost:50051 cat.jpg dog.png",
        "fieldwave predict rn50 street.jpg --model ssd_vgg",
        "fieldwave predict board.example:50051 cat.jpg --key-file key --ca ca.crt",
        "fieldwave predict digits.zip seven.png --device board:/dev/ttyUSB0",
        "fieldwave predict ssd street.jpg --threshold 0.4 --draw street-boxes.png",
    )
)
def predict(
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="The name of a service of this workspace, HOST:PORT, or a package's file."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="JPEG or PNG files.")],
    top: Annotated[
        int | None,
        typer.Option(
            "--top", "-k", min=1, help="How many to show.", show_default="5 classes, or all objects", metavar="N"
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Detection: the least score of an object.", show_default="the package's"),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(help="Detection: draw the boxes onto a copy of the image, a .png or .jpg file; or a folder."),
    ] = None,
    input_name: Annotated[str, typer.Option("--input", help="The input that takes an image.")] = "images",
    output_name: Annotated[
        str, typer.Option("--output", help="The output with the scores; the only one if not given.")
    ] = "",
    timeout: Annotated[
        float | None,
        typer.Option(help="Seconds for each image.", show_default="10, or 600 where the device is simulated"),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help="For a package's file: what runs it, such as rtl:tiny, board:/dev/ttyUSB0 or board:sim.",
            show_default="cpu",
        ),
    ] = "",
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Of a service with several networks: which one; else the first.")
    ] = "",
    on: On = "",
    key_file: KeyFile = None,
    tls: TlsOption = False,
    ca: Ca = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score images: print the likeliest classes or, of a detection network, the objects and where they are."""
    pictures = objects.pictures_for(images, draw) if draw else [None] * len(images)
    found: list[dict[str, Any]] = []
    hint = ""
    try:
        with open_scorer(
            service, timeout, Access(key_file, tls, ca, client_cert, client_key), on, device, model
        ) as scorer:
            detector = _detector(scorer, threshold, draw, output_name)
            for image, picture in zip(images, pictures, strict=True):
                with _named(image, images), output.waiting(f"scoring {image}"):
                    data = _read(image)
                    if detector is None:
                        result = _classes(scorer, image, data, input_name, output_name, top or _TOP, as_json)
                    else:
                        result = _objects(scorer, detector, image, data, input_name, top, picture, as_json)
                        hint = hint or (str(image) if result["detections"] else "")
                found.append({"image": str(image), **result})
    finally:
        if as_json and found:  # what is known before an error is not lost, and is whole JSON
            output.to_json(found)
    if hint and draw is None and not as_json:
        chosen = "" if threshold is None else f" --threshold {threshold:g}"
        place = f" --on {on}" if on else ""
        output.hint(f"fieldwave predict {service} {hint}{place}{chosen} --draw {objects.beside(Path(hint))}")


def _classes(
    scorer: Scorer, image: Path, data: bytes, input_name: str, output_name: str, top: int, as_json: bool
) -> dict[str, Any]:
    from fieldwave.postprocess import top_k

    scores = scorer.score(data, input_name, [output_name] if output_name else [])
    if len(scores) > 1:
        raise InputError(f"the service has several outputs; name one with --output: {', '.join(scores)}")
    (values,) = scores.values()
    predictions = top_k(values[0], scorer.labels, top)
    if not as_json:
        _show(image, predictions)
    return {"predictions": list(map(dataclasses.asdict, predictions))}


def _objects(
    scorer: Scorer,
    detector: Detector,
    image: Path,
    data: bytes,
    input_name: str,
    top: int | None,
    picture: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    from fieldwave.postprocess import detect
    from fieldwave.preprocess import promised_size

    found = detect(scorer.score(data, input_name, detector.outputs), detector, scorer.labels)[0][:top]
    size = promised_size(data)
    if not as_json:
        objects.show(image, size, found, detector.score_threshold)
    drawn = {}
    if picture is not None:
        objects.draw_onto(data, found, picture)
        drawn = {"drawn": str(picture)}
    return {**objects.to_dict(size, found), **drawn}


def _detector(scorer: Scorer, threshold: float | None, draw: Path | None, output_name: str) -> Detector | None:
    detector = scorer.detector
    if detector is None:
        if threshold is not None or draw is not None:
            option = "--threshold" if threshold is not None else "--draw"
            raise InputError(f"{scorer.name} has no detection network, so there is nothing to do for {option}")
        return None
    if output_name:
        raise InputError(f"{scorer.name} has a detection network, which is read as a whole; leave out --output")
    return detector if threshold is None else dataclasses.replace(detector, score_threshold=threshold)


def _read(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no image {image}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {image}: {error.strerror or error}") from error


@contextlib.contextmanager
def _named(image: Path, images: Sequence[Path]) -> Iterator[None]:
    """Errors say which of several images it was."""
    try:
        yield
    except FieldwaveError as error:
        if len(images) == 1 or str(image) in str(error):
            raise
        raise FieldwaveError(f"{image}: {error}") from error


def _show(image: Path, predictions: Sequence[Prediction]) -> None:
    output.data(output.styled(str(image), bold=True))
    for one in predictions:
        share = bar(one.probability, _BAR_WIDTH).ljust(_BAR_WIDTH)
        output.data(f"  {one.probability:6.4f}  {share}  {output.plain(one.label)}")
