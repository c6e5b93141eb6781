"""``fieldwave tune``: the NPU that runs a network fastest on an FPGA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.estimate import memory
from fieldwave.cli.examples import examples
from fieldwave.cli.network import read_network
from fieldwave.cli.options import LATENCY_CYCLES, Json, Latency, Quiet

if TYPE_CHECKING:
    from fieldwave.compiler.tune import Tuned
    from fieldwave.npu.parts import Part

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave tune resnet50:torchvision --device u250",
        "fieldwave tune rn50.zip --device zcu104 --clock 250 --output best.json",
        "fieldwave estimate rn50.zip --npu best.json --clock 250",
    )
)
def tune(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A package, a quantized .onnx file, or a network of the zoo.")
    ],
    device: Annotated[str, typer.Option(help="The FPGA or card. [dim]docs/estimates.md[/dim]", metavar="PART")],
    clock: Annotated[
        float | None, typer.Option(help="Clock of the NPU; the table's if not given.", metavar="MHZ", min=1.0)
    ] = None,
    bandwidth: Annotated[
        float | None,
        typer.Option(help="Of its memory; the table's if not given.", metavar="GB/S", min=0.001),
    ] = None,
    latency: Latency = LATENCY_CYCLES,
    top: Annotated[int, typer.Option(help="How many to print.", metavar="N", min=1)] = 5,
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file for the best one, for --npu of other commands.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search the configurations of the NPU that fit an FPGA for those that run a network fastest.

    Multipliers and block memory are counted, logic is estimated on AMD's parts; a tenth of memory and logic stays
    free. The part's clock is a plan.
    """
    from fieldwave.compiler.tune import tune as search
    from fieldwave.npu.parts import part

    target = part(device)
    megahertz, speed = clock or target.megahertz, bandwidth or target.bandwidth
    with output.progress() as progress:
        progress(f"reading {model}", 0.0)
        network = read_network(model, zoo=True)
        found = search(network.graph, target, memory(megahertz, speed, latency), megahertz, progress=progress)
    best = found[:top]
    if as_json:
        output.to_json([_facts(one, target, megahertz, speed) for one in best])
    else:
        kinds = [block.name.upper() for block in target.blocks]
        output.table(
            [
                "ARRAY",
                "LATENCY",
                "OF THE ARRAY",
                "MACS ON NPU",
                "ACTIVATIONS",
                "RING",
                "PORT",
                "MULTIPLIERS",
                *(["LOGIC"] if target.six_inputs else []),
                *kinds,
            ],
            [_row(one, target) for one in best],
        )
        planned = "" if clock else ", a plan and no measurement"
        output.note(
            f"{target.name} at {megahertz:g} MHz{planned}, and {speed:g} GB/s; {len(found)} configurations"
        )
        if any(one.estimate.later for one in best):
            output.note(
                "all: this ring holds all weights, which stay; the latency is that from the second image on"
            )
    if output_file is not None:
        _write(output_file, best[0])
        output.hint(f"fieldwave estimate {model} --npu {output_file} --clock {megahertz:g} --bandwidth {speed:g}")


def _row(one: Tuned, target: Part) -> list[str]:
    c, estimate = one.configuration, one.estimate
    lanes = f" x {c.pixel_lanes}" if c.pixel_lanes > 1 else ""
    share = estimate.npu_macs / estimate.macs if estimate.macs else 1.0
    return [
        f"{c.input_lanes} x {c.output_lanes}{lanes}",
        f"{1e3 * one.seconds:.3f} ms",
        f"{100 * one.utilisation:.1f} %",
        f"{100 * share:.2f} %",
        " + ".join(f"{size >> 10}" for size in c.bank_bytes) + " KiB",
        f"{c.ring_bytes >> 10} KiB{', all' if estimate.later else ''}",
        f"{c.port_bytes} B",
        f"{one.taken.multipliers} of {target.multipliers}",
        *([] if one.taken.logic is None else [f"{one.taken.logic} of {target.logic}"]),
        *(f"{used} of {block.count}" for used, block in zip(one.taken.blocks, target.blocks, strict=True)),
    ]


def _facts(one: Tuned, target: Part, megahertz: float, bandwidth: float) -> dict[str, Any]:
    from dataclasses import asdict

    from fieldwave.cli.estimate import facts

    return {
        "part": target.name,
        "configuration": asdict(one.configuration),
        "multipliers_taken": one.taken.multipliers,
        "logic_taken": one.taken.logic,
        "blocks_taken": {block.name: used for block, used in zip(target.blocks, one.taken.blocks, strict=True)},
        **facts(one.estimate, megahertz, bandwidth),
    }


def _write(path: Path, one: Tuned) -> None:
    import json
    from dataclasses import asdict

    from fieldwave.files import write_atomically

    write_atomically(path, (json.dumps(asdict(one.configuration), indent=2) + "\n").encode())
    output.note(f"{path}  {one.configuration.fingerprint:016x}")
