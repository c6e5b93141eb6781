"""``fieldwave demo``: the whole road on real digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

import fieldwave
from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.pictures import side_by_side
from fieldwave.errors import FieldwaveError, MissingExtraError

if TYPE_CHECKING:
    from fieldwave.demo import Demo, Example, Proof, Scores
    from fieldwave.package import Package
    from fieldwave.quantize import Report

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

_NPU, _CLOCK = "sim16", 200
"""Configuration that is simulated, and the clock in MHz that turns its cycles into time."""
_PROVED = 50
"""Held-out images whose every tensor is compared; all of them are scored."""


@app.command(epilog=examples("fieldwave demo"))
def demo() -> None:
    """Walk the whole road on real digits: convert, prove, deploy, score, simulate the FPGA, clean up."""
    from fieldwave.demo import Demo

    with Demo() as road:
        output.data(
            f"Fieldwave {fieldwave.__version__}: the whole road, "
            f"on {road.heldout} handwritten digits that the network has not seen\n"
        )
        _walk(road)
    _step(6, "clean up", "service deleted, files removed, no process left")


def _walk(road: Demo) -> None:
    calibration, heldout = road.write_images()
    with output.progress() as progress:
        made = road.convert(calibration, heldout, progress)
    size = made.path.stat().st_size
    _step(1, "convert", f"float network -> int8 package, {size / 1000:.0f} kB, {made.package.digest[:19]}")
    _more(_accuracy(made.report))

    _step(2, "prove", _verdict("cpu", road.prove(made.package, "cpu", _PROVED)))

    with output.waiting("starting the service"):
        service = road.deploy(made.path)
    _step(3, "deploy", f"service {service.name!r} is {service.state} on {service.address}, process {service.pid}")

    scores = road.score(made.package, service, "cpu")
    _step(4, "score", _answers(scores))
    _more(f"latency of a request as the client sees it: p50 {scores.p50:.2f} ms, p99 {scores.p99:.2f} ms")
    output.data("")
    for line in side_by_side([one.pixels for one in scores.examples], list(map(_caption, scores.examples))):
        _more(line)
    output.data("")
    _simulate(road, made.package, scores)


def _simulate(road: Demo, package: Package, scores: Scores) -> None:
    try:
        with output.progress() as progress:
            simulated = road.simulate(package, _NPU, scores.answers, progress)
    except MissingExtraError as error:
        _step(5, "simulate", f"left out: {error}")
        return
    if simulated.identical != simulated.images:
        raise FieldwaveError(f"{simulated.images - simulated.identical} answers of the simulated FPGA differ")
    _step(
        5,
        "simulate",
        f"the FPGA's gateware, cycle by cycle ({simulated.npu}): {simulated.images} digits, "
        f"all answers {_identical()} to the CPU's",
    )
    hardware = simulated.hardware
    _more(
        f"{hardware.cycles:,.0f} cycles an image, {hardware.milliseconds(_CLOCK):.3f} ms at {_CLOCK} MHz; "
        f"array {hardware.utilisation:.0%} busy"
    )


def _accuracy(report: Report) -> str:
    assert report.float_accuracy is not None and report.int8_accuracy is not None
    drop = (report.float_accuracy - report.int8_accuracy) * 100
    return (
        f"accuracy on the held-out digits: float {report.float_accuracy:.2%}, "
        f"int8 {report.int8_accuracy:.2%} (drop {drop:.2f} points)"
    )


def _verdict(device: str, proof: Proof) -> str:
    if proof.differing:
        raise FieldwaveError(
            f"{proof.differing} of {proof.size} bytes differ between {device} and the golden model"
        )
    return (
        f"{device} against the golden model, {proof.tensors} tensors of {proof.images} images, "
        f"{proof.size:,} bytes: {_identical()}"
    )


def _answers(scores: Scores) -> str:
    if scores.identical != scores.images:
        raise FieldwaveError(f"{scores.images - scores.identical} answers of the service differ from the device's")
    return (
        f"{scores.images} PNG files over gRPC: {scores.right} right ({scores.right / scores.images:.2%}), "
        f"all answers {_identical()} to the CPU's"
    )


def _identical() -> str:
    return output.styled("identical", fg="green", bold=True)


def _caption(one: Example) -> str:
    best = int(one.probabilities.argmax())
    return f"{best}  {one.probabilities[best]:.1%}"


def _step(number: int, name: str, text: str) -> None:
    output.data(f"{number}  {output.styled(name.ljust(10), bold=True)}{text}")


def _more(text: str) -> None:
    output.data(f"{'':13}{text}".rstrip())
