"""``fieldwave bench``: latency of a package on a device, and of any service under load."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.access import Access, Ca, ClientCert, ClientKey, KeyFile, TlsOption
from fieldwave.cli.examples import examples
from fieldwave.cli.options import CLOCK_MHZ, Json

if TYPE_CHECKING:
    from fieldwave.bench import ClosedLoop, Figures, HardwareTime, Latency, OpenLoop
    from fieldwave.client import PredictionClient

__all__ = ["app", "client_of"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_LOAD = "For a service"


@app.command(
    epilog=examples(
        "fieldwave bench rn50.zip",
        "fieldwave bench rn50.zip --device rtl --clock 150",
        "fieldwave bench rn50 --image cat.jpg",
        "fieldwave bench rn50 --rate 100 --rate 200 --rate 400 --seconds 30",
        "fieldwave bench rn50 --concurrency 8 --stages",
        "fieldwave bench 127.0.0.1:8001 --protocol oip --model resnet --rate 100",
    )
)
def bench(
    target: Annotated[
        str, typer.Argument(metavar="PACKAGE|SERVICE", help="A package's file, or a service's name or HOST:PORT.")
    ],
    device: Annotated[str, typer.Option(help="What computes, for a package: cpu, rtl, rtl:NPU.")] = "cpu",
    clock: Annotated[float, typer.Option(min=1.0, help="MHz of the NPU, to turn cycles into time.")] = CLOCK_MHZ,
    seconds: Annotated[float, typer.Option(min=0.0, help="How long to measure; each rate, for a service.")] = 3.0,
    image: Annotated[
        Path | None, typer.Option(rich_help_panel=_LOAD, help="A JPEG or PNG to send; else noise.")
    ] = None,
    batch: Annotated[int, typer.Option(rich_help_panel=_LOAD, min=1, help="Images in a request.")] = 1,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            rich_help_panel=_LOAD, help="Requests a second, whatever it answers; may be repeated.", metavar="R"
        ),
    ] = None,
    arrivals: Annotated[
        str, typer.Option(rich_help_panel=_LOAD, help="Of a rate: poisson, or constant pauses.")
    ] = "poisson",
    concurrency: Annotated[
        int,
        typer.Option(rich_help_panel=_LOAD, help="Callers who send when they have been answered.", metavar="N"),
    ] = 1,
    protocol: Annotated[
        str,
        typer.Option(
            rich_help_panel=_LOAD, help="predict (TensorFlow Serving's), or oip: Open Inference Protocol v2."
        ),
    ] = "predict",
    model: Annotated[
        str, typer.Option(rich_help_panel=_LOAD, help="The model's name, for a server of several.", metavar="NAME")
    ] = "",
    timeout: Annotated[
        float, typer.Option(rich_help_panel=_LOAD, min=0.001, help="Each request's deadline, in seconds.")
    ] = 10.0,
    stages: Annotated[
        bool,
        typer.Option("--stages", rich_help_panel=_LOAD, help="Ask for the time in each stage of the service."),
    ] = False,
    key_file: KeyFile = None,
    tls: TlsOption = False,
    ca: Ca = None,
    client_cert: ClientCert = None,
    client_key: ClientKey = None,
    as_json: Json = False,
) -> None:
    """Measure latency: of a package on a device, one image at a time; or of a running service under load.

    Any server will do that speaks TensorFlow Serving's Predict or the Open Inference Protocol over gRPC. With
    --rate, requests come as independent users do, and a latency counts from when its request was to be sent.
    """
    access = Access(key_file, tls, ca, client_cert, client_key)
    if Path(target).is_file():
        access.check_unused(target)
        _package(target, device, seconds, clock, as_json)
        return
    from fieldwave.bench import ClosedLoop, OpenLoop

    times = {"seconds": seconds, "warm_up": min(1.0, seconds / 2), "timeout": timeout}
    loads: list[OpenLoop | ClosedLoop] = [
        OpenLoop(one, arrivals=arrivals, **times)  # type: ignore[arg-type]  # it says which there are
        for one in rate or ()
    ]
    with client_of(target, access) as client:
        found = _measure(
            client, loads or [ClosedLoop(concurrency, **times)], image, batch, protocol, model, stages
        )
    if as_json:
        output.to_json({"target": target, "protocol": protocol, "loads": [_facts(one) for one in found]})
        return
    output.table(
        ["OFFERED/S", "ANSWERED/S", "P50 MS", "P90 MS", "P99 MS", "P99.9 MS", "WORST MS", "CALLS", "ERRORS"],
        [_row(one) for one in found],
    )
    for one in found:
        _remarks(one)


def _facts(one: Figures) -> dict[str, object]:
    """For ``--json``, which has no NaN."""
    return {name: None if value != value else value for name, value in asdict(one).items()}


def _row(one: Figures) -> list[str]:
    errors = ", ".join(f"{count} {code}" for code, count in one.errors.items()) or "0"
    times = (f"{value:.3f}" for value in (one.p50, one.p90, one.p99, one.p999, one.worst))
    return [f"{one.offered:.1f}", f"{one.answered:.1f}", *times, str(one.requests), errors]


def _remarks(one: Figures) -> None:
    if one.stages:
        parts = ", ".join(f"{name} {milliseconds:.3f}" for name, milliseconds in one.stages.items())
        output.data(f"at {one.offered:.1f}/s, mean ms in the service: {parts}")
    if one.late > max(1.0, 0.2 * one.p50):
        output.note(
            f"at {one.offered:.1f}/s, requests were sent up to {one.late:.1f} ms late (99 %): this machine is too "
            "slow to send them; the latencies include it"
        )


def _measure(
    client: PredictionClient,
    loads: list[OpenLoop | ClosedLoop],
    image: Path | None,
    batch: int,
    protocol: str,
    model: str,
    stages: bool,
) -> list[Figures]:
    from fieldwave.bench import OpenLoop, closed_loop, open_loop, prepare

    connections = client.connections.each
    request = prepare(
        connections[0], protocol, model=model, image=None if image is None else _bytes(image), batch=batch
    )
    found: list[Figures] = []
    with output.progress() as progress:
        for number, load in enumerate(loads):
            progress(f"sending to {connections[0].target}", number / len(loads))
            if isinstance(load, OpenLoop):
                found.append(open_loop(connections, request, load, stages=stages))
            else:
                found.append(closed_loop(connections, request, load, stages=stages))
    return found


def _package(target: str, device: str, seconds: float, clock: float, as_json: bool) -> None:
    figures, hardware = _device(Path(target), device, seconds)
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


def client_of(name: str, access: Access) -> PredictionClient:
    """A client of a service of this workspace, or of ``HOST:PORT``."""
    from fieldwave.deploy import LocalTarget
    from fieldwave.errors import NotFoundError

    if ":" in name:
        return access.client(name)
    access.check_unused(name)
    try:
        return LocalTarget().get(name).client()
    except NotFoundError as error:
        raise NotFoundError(f"no file {name} and {error}") from None


def _bytes(image: Path) -> bytes:
    from fieldwave.errors import NotFoundError

    try:
        return image.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {image}: {error.strerror}") from None
