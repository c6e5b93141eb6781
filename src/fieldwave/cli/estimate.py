"""``fieldwave estimate``: how fast a network would be on an NPU, before there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.network import read_network
from fieldwave.cli.options import BANDWIDTH, CLOCK_MHZ, LATENCY_CYCLES, Bandwidth, Clock, Json, Latency, Quiet

if TYPE_CHECKING:
    from fieldwave.compiler.estimate import NetworkEstimate

__all__ = ["app", "facts", "memory"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave estimate rn50.zip --npu sim32",
        "fieldwave estimate resnet50:torchvision --npu u250 --clock 300 --bandwidth 77",
        "fieldwave estimate rn50.zip --npu zcu104 --npu kv260 --clock 300 --json",
    )
)
def estimate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A package, a quantized .onnx file, or a network of the zoo."),
    ],
    npu: Annotated[
        list[str], typer.Option(help="The NPU; may be repeated. [dim]fieldwave npu list[/dim]", metavar="NAME")
    ],
    clock: Clock = CLOCK_MHZ,
    bandwidth: Bandwidth = BANDWIDTH,
    latency: Latency = LATENCY_CYCLES,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Estimate latency, memory traffic, resources and energy of a network on an NPU, without hardware.

    The network is compiled, and its program is run through a model of every unit of the NPU. What is left to the
    host is not in the figures.
    """
    from fieldwave.compiler import compile_network
    from fieldwave.compiler.estimate import estimate_network
    from fieldwave.errors import ModelError
    from fieldwave.npu import configuration

    wanted = {name: configuration(name) for name in dict.fromkeys(npu)}  # a wrong name fails before anything else
    behind = memory(clock, bandwidth, latency)
    found: dict[str, NetworkEstimate] = {}
    with output.progress() as progress:
        progress(f"reading {model}", 0.0)
        network = read_network(model, zoo=True)
        for name, one in wanted.items():
            progress(f"compiling for {name}", len(found) / len(wanted))
            try:
                found[name] = estimate_network(compile_network(network.graph, one), one, behind)
            except ModelError as error:
                raise ModelError(f"for {name}: {error}") from error
    if as_json:
        output.to_json([{"npu": name, **facts(one, clock, bandwidth)} for name, one in found.items()])
        return
    output.table(
        [
            "NPU",
            "LATENCY",
            "CYCLES",
            "OF THE ARRAY",
            "MACS ON NPU",
            "READ",
            "WRITTEN",
            "MULTIPLIERS",
            "MEMORY",
            "ENERGY",
        ],
        [_row(name, facts(one, clock, bandwidth)) for name, one in found.items()],
    )
    output.note(
        f"at {clock:g} MHz, {bandwidth:g} GB/s, {latency} cycles; energy is a proxy at 45 nm, for comparisons"
    )
    for name, estimated in found.items():
        shares = {cause: cycles / estimated.cycles for cause, cycles in estimated.waits.items() if cycles}
        lost = ", ".join(f"{cause} {100 * share:.1f} %" for cause, share in shares.items())
        output.note(f"{name}: lost to {lost}")
        if estimated.later:
            milliseconds = 1e-3 * estimated.later_cycles / clock
            output.note(
                f"{name}: the weight ring holds all weights; {milliseconds:.3f} ms from the second image on, "
                f"{output.size(sum(one.bytes_read for one in estimated.later))} read"
            )
    where = model if network.package else "rn50.zip"
    given = {
        "--clock": (clock, CLOCK_MHZ),
        "--bandwidth": (bandwidth, BANDWIDTH),
        "--latency": (latency, LATENCY_CYCLES),
    }
    same = "".join(f" {name} {value:g}" for name, (value, usual) in given.items() if value != usual)
    output.hint(f"fieldwave report {where} --npu {npu[0]}{same} --html report.html")


def memory(clock: float, bandwidth: float, latency: int) -> Any:
    """The memory as the NPU sees it, in cycles of its clock."""
    from fieldwave.compiler.estimate import Memory

    return Memory(bandwidth * 1e3 / clock, latency)


def facts(one: NetworkEstimate, clock: float, bandwidth: float) -> dict[str, Any]:
    """An estimate for ``--json``."""
    from dataclasses import asdict

    from fieldwave.npu.resources import memories

    return {
        "network": one.network,
        "clock_mhz": clock,
        "bandwidth_gb_per_s": bandwidth,
        "latency_cycles": one.memory.latency,
        "milliseconds": 1e3 * one.seconds(clock),
        "cycles": one.cycles,
        "utilisation": one.utilisation,
        "macs": one.macs,
        "npu_macs": one.npu_macs,
        "host_sections": one.host_sections,
        "waits": one.waits,
        "bytes_read": one.bytes_read,
        "bytes_written": one.bytes_written,
        "resident": bool(one.later),
        "later_cycles": one.later_cycles,
        "later_milliseconds": 1e-3 * one.later_cycles / clock,
        "multipliers": one.configuration.multipliers,
        "block_memory_bytes": sum(depth * width for depth, width in memories(one.configuration)) // 8,
        "energy": {**asdict(one.energy), "microjoules": one.energy.microjoules},
    }


def _row(name: str, one: dict[str, Any]) -> list[str]:
    return [
        name,
        f"{one['milliseconds']:.3f} ms",
        f"{one['cycles']:,}",
        f"{100 * one['utilisation']:.1f} %",
        f"{100 * one['npu_macs'] / one['macs']:.2f} %" if one["macs"] else "-",
        output.size(one["bytes_read"]),
        output.size(one["bytes_written"]),
        str(one["multipliers"]),
        output.size(one["block_memory_bytes"]),
        f"{one['energy']['microjoules'] / 1e3:.2f} mJ",
    ]
