"""``fieldwave convert``: a trained network to a package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.cli.pairs import read_pairs
from fieldwave.cli.watch import show_result, watch
from fieldwave.errors import InputError, NotFoundError, StorageError

if TYPE_CHECKING:
    from fieldwave.conversion import Conversion
    from fieldwave.frontends import Pixels

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_MODEL, _PIXELS, _INT8, _JOB = "Model", "Image", "Quantization", "With --register"  # panels of the help


@app.command(
    epilog=examples(
        "fieldwave convert resnet50 --weights random:0 --calibration photos --output rn50.zip",
        "fieldwave convert saved_model/ --calibration photos --npu sim16 --output flowers.zip",
        "fieldwave convert flowers:3 --calibration photos --npu sim16 --register --tag team=vision",
        "fieldwave convert net.onnx --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 "
        "--labels classes.txt --calibration photos --output net.zip",
    )
)
def convert(
    model: Annotated[
        str,
        typer.Argument(
            help="A SavedModel folder, an .onnx, .pb or .pt2 file, a network of the zoo: resnet50, "
            "or, with --register, a registered model: flowers:3."
        ),
    ],
    calibration: Annotated[
        Path, typer.Option(help="Folder of JPEG or PNG files such as the service will see, 16 or more.")
    ],
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="The package to write, here and now.")
    ] = None,
    register: Annotated[
        bool,
        typer.Option("--register", help="Have a job make it, which outlives this shell, and register it."),
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            help="For the zoo: a file of any publisher, a pulled set, or random:SEED; its own if not given.",
            rich_help_panel=_MODEL,
        ),
    ] = "",
    input_tensor: Annotated[
        str | None,
        typer.Option("--input", help="The tensor at which the network begins.", rich_help_panel=_MODEL),
    ] = None,
    output_tensor: Annotated[
        list[str] | None,
        typer.Option(help="An output, instead of the model's own; may be repeated.", rich_help_panel=_MODEL),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Text file with a class on each line, in order.", rich_help_panel=_MODEL)
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            help="Of the image, where the model leaves it open: 224, or 300x400 (HxW).", rich_help_panel=_PIXELS
        ),
    ] = "",
    order: Annotated[str, typer.Option(help="Of the channels: RGB, BGR or GRAY.", rich_help_panel=_PIXELS)] = "",
    mean: Annotated[
        str,
        typer.Option(help="Subtracted from the pixels, 0 to 255: one value, or R,G,B.", rich_help_panel=_PIXELS),
    ] = "",
    scale: Annotated[
        float | None, typer.Option(help="Multiplied after the mean.", rich_help_panel=_PIXELS)
    ] = None,
    std: Annotated[
        str,
        typer.Option(
            help="Divided by after the mean; values up to 1 mean that pixels go from 0 to 1, as in PyTorch.",
            rich_help_panel=_PIXELS,
        ),
    ] = "",
    resize: Annotated[
        str,
        typer.Option(help="crop, crop:256 (the shortest side before it), or stretch.", rich_help_panel=_PIXELS),
    ] = "",
    decode: Annotated[
        str,
        typer.Option(
            help="Of large JPEG files: full, or scaled, which is faster and gives other pixels.",
            rich_help_panel=_PIXELS,
        ),
    ] = "",
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Folder with a sub-folder of images for each class, to measure the accuracy on."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(help="How scales are chosen: minmax, percentile or error.", rich_help_panel=_INT8),
    ] = "minmax",
    percentile: Annotated[
        float,
        typer.Option(help="Percent of the values that must not be clipped.", rich_help_panel=_INT8),
    ] = 99.99,
    bias_correction: Annotated[
        bool,
        typer.Option(help="Take the mean error of rounded weights from the biases.", rich_help_panel=_INT8),
    ] = True,
    equalise: Annotated[
        bool,
        typer.Option("--equalise", help="Even out the channels between two layers.", rich_help_panel=_INT8),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Report on every layer, not the worst alone.", rich_help_panel=_INT8)
    ] = False,
    npu: Annotated[
        list[str] | None,
        typer.Option(help="Compile a program for this NPU too; may be repeated. [dim]fieldwave npu list[/dim]"),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name", "-n", help="What to call the package; else as the model, with -int8.", rich_help_panel=_JOB
        ),
    ] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="KEY=VALUE; may be repeated.", rich_help_panel=_JOB)
    ] = None,
    prop: Annotated[
        list[str] | None,
        typer.Option("--property", help="KEY=VALUE, which stays; may be repeated.", rich_help_panel=_JOB),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is, in a sentence.", rich_help_panel=_JOB)] = "",
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Return when it is there, or at once.", rich_help_panel=_JOB),
    ] = True,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which the job is ended.", rich_help_panel=_JOB)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a trained network into an int8 package.

    It holds the quantized network, its preprocessing and labels, and a report of float against int8.
    """
    from fieldwave.quantize import Options

    if (output_file is None) == (not register):
        raise typer.BadParameter("say --output FILE or --register, one of them", param_hint="'--output'")
    if not register and (name or tag or prop or description or timeout is not None or not wait):
        raise typer.BadParameter("it is for --register, not for --output FILE", param_hint=f"'{_JOB}'")
    if not register and ":" in model and not os.path.exists(model):
        raise NotFoundError(f"no file {model!r}; a registered model is converted with --register, not --output")
    said = any(value not in ("", None) for value in (order, mean, scale, std, resize))
    options: dict[str, Any] = {
        "weights": weights,
        "input": input_tensor,
        "outputs": output_tensor or (),
        "size": _size(size) if size else None,
        "preprocessing": _pixels(order, mean, scale, std, resize) if said else None,
        "labels": _labels(labels) if labels is not None else (),
        "calibration": calibration,
        "evaluation": evaluation,
        "decode": decode or None,
        "quantization": Options(method, percentile, bias_correction, equalise),  # type: ignore[arg-type]  # checks it
    }
    if output_file is not None:
        _convert_here(model, output_file, npu or (), options, layers, as_json)
        return
    from fieldwave.jobs import convert as convert_in_a_job

    operation = convert_in_a_job(
        model,
        target=npu or (),
        name=name,
        tags=read_pairs(tag),
        properties=read_pairs(prop),
        description=description,
        timeout=timeout,
        **options,
    )
    if not wait:
        output.data(operation.id)
        output.hint(f"fieldwave jobs wait {operation.id}")
        return
    watch(operation)
    show_result(operation, as_json)


def _convert_here(
    model: str, path: Path, npu: Sequence[str], options: dict[str, Any], layers: bool, as_json: bool
) -> None:
    from fieldwave.conversion import convert as convert_network

    with output.progress() as progress:
        made = convert_network(model, npu=npu, output=path, progress=progress, **options)
    for line in (*made.notes, *made.report.notes):
        output.note(f"note: {line}")
    if as_json:
        report = made.report.to_json()
        output.to_json(
            {
                "path": str(made.path),
                "digest": made.package.digest,
                "notes": list(made.notes),
                "report": report,
            }
        )
    else:
        _print(made)
        if layers:
            output.data(made.report.table())
    output.hint(f"fieldwave services deploy {made.path} --name {made.path.stem}")


def _pixels(order: str, mean: str, scale: float | None, std: str, resize: str) -> Pixels:
    from fieldwave.frontends import Pixels

    how, _, side = resize.partition(":")
    return Pixels(
        order=order.upper() or None,  # type: ignore[arg-type]  # Pixels checks it
        resize=how or None,  # type: ignore[arg-type]  # Pixels checks it
        shortest_side=_whole(side, "--resize") if side else None,
        mean=_numbers(mean, "--mean") if mean else None,
        std=_numbers(std, "--std") if std else None,
        scale=scale,
    )


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    rows = _whole(height, "--size")
    return rows, _whole(width, "--size") if width else rows


def _whole(text: str, option: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise InputError(f"{option}: {text!r} is no number of pixels, such as 224")
    return int(text)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{option}: {text!r} is no list of numbers, such as 123.68,116.779,103.939") from None


def _labels(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8; write one class on each line") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty; write one class on each line")
    return tuple(line.strip() for line in lines)


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
        output.data(f"              {layer.reason}")
