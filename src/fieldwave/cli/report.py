"""``fieldwave report``: the picture of where a network's time goes on an NPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.network import read_network
from fieldwave.cli.options import BANDWIDTH, CLOCK_MHZ, LATENCY_CYCLES, Bandwidth, Clock, Json, Latency, Quiet

if TYPE_CHECKING:
    from fieldwave.report import Facts

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave report rn50.zip --npu zcu104 --html rn50.html",
        "fieldwave report densenet121 --npu kv260 --clock 300 --bandwidth 9.6 --json",
        "fieldwave report rn50.zip --npu sim16 --image cat.jpg --html measured.html",
    )
)
def report(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A package, a quantized .onnx file, or a network of the zoo."),
    ],
    npu: Annotated[str, typer.Option(help="The NPU. [dim]fieldwave npu list[/dim]", metavar="NAME")],
    image: Annotated[
        Path | None,
        typer.Option(help="JPEG or PNG: run it on the simulated NPU, and draw what was measured, not estimated."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="The page to write; else the network's name and the NPU's.")
    ] = None,
    clock: Clock = CLOCK_MHZ,
    bandwidth: Bandwidth = BANDWIDTH,
    latency: Latency = LATENCY_CYCLES,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw where the time goes: layers against the roofline, the units over time, the activation memory.

    One page, which any browser opens without a network.
    """
    from fieldwave.compiler import compile_network
    from fieldwave.files import write_atomically
    from fieldwave.npu import configuration
    from fieldwave.report import Board, collect, estimate, measure, page

    parameters = configuration(npu)
    network = read_network(model, zoo=True)
    package = network.package
    if image is not None and package is None:
        raise typer.BadParameter(
            f"only a package says how an image becomes its input, not {model}", param_hint="'--image'"
        )
    inputs = package.image_input(_read(image)) if package is not None and image is not None else None
    board = Board(clock * 1e6, bandwidth * 1e9, latency)
    with output.waiting(f"compiling for {npu}"):
        compiled = compile_network(network.graph, parameters)
    with output.waiting("estimating"):
        timelines = estimate(compiled, board)
    if package is not None and inputs is not None:
        estimated = sum(timeline.cycles for timeline in timelines)
        with output.waiting(f"simulating {npu}: minutes for a large network, and once to build it"):
            timelines = measure(compiled, package, inputs, board)
        off = estimated / sum(timeline.cycles for timeline in timelines) - 1
        output.note(f"estimated: {estimated:,} cycles, {100 * off:+.2f} %")
    facts = collect(compiled, timelines, board)
    target = html or (None if as_json else Path(f"{Path(model).stem}-{npu}.html".replace(":", "-")))
    if target is not None:
        write_atomically(target, page(facts).encode())
    if as_json:
        output.to_json(_json(facts))
    else:
        output.data(
            f"{1e3 * facts.seconds:.3f} ms  {facts.cycles:,} cycles  {100 * facts.utilisation:.1f} % of the array"
            f"  {100 * facts.summary.npu_share:.2f} % of the multiply-accumulates on the NPU"
        )
    if target is not None:
        output.note(f"{target}  {output.size(target.stat().st_size)}")
        output.hint(f"open {target} in a browser")


def _read(image: Path) -> bytes:
    from fieldwave.errors import NotFoundError

    try:
        return image.read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {image}: {error.strerror}") from None


def _json(facts: Facts) -> dict[str, Any]:
    return {
        "network": facts.summary.network,
        "npu": facts.summary.configuration,
        "origin": facts.origin,
        "cycles": facts.cycles,
        "seconds": facts.seconds,
        "utilisation": facts.utilisation,
        "macs": facts.summary.macs,
        "npu_macs": facts.summary.npu_macs,
        "bytes_read": facts.read,
        "bytes_written": facts.written,
        "parts": facts.parts(),
        "layers": [
            {
                "name": layer.name,
                "computes": layer.kind,
                "result": layer.result,
                "cycles": layer.cycles,
                "roofline_cycles": round(max(layer.bounds(facts.configuration, facts.board))),
                "macs": layer.macs,
                "bytes_read": layer.read,
                "bytes_written": layer.written,
                "parts": dict(layer.parts),
            }
            for layer in facts.layers
        ],
        "host": [{"name": node.name, "op": node.op, "reason": node.reason} for node in facts.host],
    }
