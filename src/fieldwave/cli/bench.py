"""``fieldwave bench``: latency of a package on a device, or of a service."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.access import Access, Ca, ClientCert, ClientKey, KeyFile, TlsOption
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json

if TYPE_CHECKING:
    from fieldwave.bench import HardwareTime, Latency
    from fieldwave.client import PredictionClient

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave bench rn50.zip",
        "fieldwave bench rn50 --image cat.jpg",
        "fieldwave bench rn50.zip --device rtl --clock 150",
    )
)
def bench(
    target: Annotated[
        str, typer.Argument(metavar="PACKAGE|SERVICE", help="A package's file, or a service's name or HOST:PORT.")
    ],
    device: Annotated[str, typer.Option(help="What computes, for a package: cpu, rtl, rtl:NPU.")] = "cpu",
    image: Annotated[Path | None, typer.Option(help="A JPEG or PNG to send; for a service.")] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to measure.")] = 3.0,
    clock: Annotated[float, typer.Option(min=1.0, help="MHz of the NPU, to turn cycles into time.")] = 200.0,
    key_file: KeyFile = None,
    tls: TlsOption = False,
    ca: Ca = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: Json = False,
) -> None:
    """Measure the latency of one image at a time: of a package on a device, or of a running service.

    A service gets the image's bytes, or noise in the shape of the network's input where no image is given.
    """
    access = Access(key_file, tls, ca, client_cert, client_key)
    if Path(target).is_file():
        access.check_unused(target)
        figures, hardware = _device(Path(target), device, seconds)
    else:
        figures, hardware = _service(target, image, seconds, access), None
    if as_json:
        facts = {} if hardware is None else {**asdict(hardware), "milliseconds": hardware.milliseconds(clock)}
        output.to_json({"target": target, **asdict(figures), **facts})
        return
    output.table(
        ["P50 MS", "P90 MS", "P99 MS", "BEST MS", "IMAGES/S", "CALLS"],
        [
            [
                *(f"{value:.3f}" for value in (figures.p50, figures.p90, figures.p99, figures.best)),
                f"{figures.rate:.1f}",
                str(figures.count),
            ]
        ],
    )
    if hardware is not None:
        output.data(
            f"{hardware.cycles:,.0f} cycles an image, {hardware.macs:,} multiply-accumulates, "
            f"utilisation of the array {hardware.utilisation:.1%}"
        )
        output.data(f"latency at {clock:g} MHz: {hardware.milliseconds(clock):.3f} ms")


def _device(path: Path, device: str, seconds: float) -> tuple[Latency, HardwareTime | None]:
    from fieldwave.bench import bench_device
    from fieldwave.package import read_package

    package = read_package(path)
    with output.waiting(f"running {package.manifest.network} on {device}"):
        return bench_device(package, device, seconds=seconds)


def _service(name: str, image: Path | None, seconds: float, access: Access) -> Latency:
    from fieldwave.bench import bench_service

    with _client(name, access) as client:
        inputs = _example(name) if image is None else {"images": _bytes(image)}
        with output.waiting(f"sending to {name}"):
            return bench_service(client, inputs, seconds=seconds)


def _client(name: str, access: Access) -> PredictionClient:
    from fieldwave.deploy import LocalTarget
    from fieldwave.errors import NotFoundError

    if ":" in name:
        return access.client(name)
    access.check_unused(name)
    try:
        return LocalTarget().get(name).client()
    except NotFoundError as error:
        raise NotFoundError(f"no file {name} and {error}") from None


def _example(name: str) -> dict[str, Any]:
    from fieldwave.bench import example_input
    from fieldwave.deploy import LocalTarget
    from fieldwave.errors import InputError

    if ":" in name:
        raise InputError(f"{name} is an address: say what to send with --image FILE")
    return dict(example_input(LocalTarget().package(name)))


def _bytes(image: Path) -> bytes:
    from fieldwave.errors import NotFoundError

    try:
        return image.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {image}: {error.strerror}") from None
