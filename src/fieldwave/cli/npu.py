"""``fieldwave npu``: the named configurations of the NPU; list, show, emit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Configurations of the NPU: what they hold, and their Verilog.",
    epilog=examples("fieldwave npu list", "fieldwave npu emit tiny --output npu.v"),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The configuration's name.")]


@app.command("list", epilog=examples("fieldwave npu list", "fieldwave npu list --json"))
def list_configurations(as_json: Json = False) -> None:
    """List the configurations that have a name."""
    from fieldwave.npu import CONFIGURATIONS

    if as_json:
        output.to_json([_facts(name) for name in CONFIGURATIONS])
        return
    output.table(
        ["NAME", "ARRAY", "MULTIPLIERS", "ACTIVATIONS", "WEIGHT RING", "PORT", "FINGERPRINT"],
        [
            [
                name,
                f"{one.input_lanes} x {one.output_lanes}",
                str(one.multipliers),
                " + ".join(_size(size) for size in one.bank_bytes),
                _size(one.ring_bytes),
                f"{one.port_bytes} B",
                f"{one.fingerprint:016x}",
            ]
            for name, one in CONFIGURATIONS.items()
        ],
    )


@app.command(epilog=examples("fieldwave npu show sim16", "fieldwave npu show u250 --json"))
def show(name: Name, as_json: Json = False) -> None:
    """Show one configuration: its parameters and what follows from them."""
    facts = _facts(name)
    if as_json:
        output.to_json(facts)
        return
    lists = {key: " + ".join(map(str, value)) for key, value in facts.items() if isinstance(value, list)}
    output.fields({**facts, **lists})


@app.command(epilog=examples("fieldwave npu emit tiny --output npu.v", "fieldwave npu emit u250 > npu.v"))
def emit(
    name: Name,
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; standard output if not given.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a configuration as Verilog: the very text that is simulated and synthesised."""
    from fieldwave.errors import MissingExtraError
    from fieldwave.files import write_atomically
    from fieldwave.npu import configuration

    chosen = configuration(name)
    try:
        from fieldwave.npu.emit import emit_verilog
    except ImportError as error:
        raise MissingExtraError("writing Verilog", "gateware") from error
    with output.waiting(f"writing the Verilog of {name}"):
        text = emit_verilog(chosen)
    if output_file is None:
        output.data(text)
    else:
        write_atomically(output_file, text.encode())
        output.note(f"{output_file}  {len(text) / 1e6:.1f} MB, module npu")


def _facts(name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from fieldwave.npu import configuration

    one = configuration(name)
    parameters = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(one).items()}
    derived = ("multipliers", "slices", "bank_words", "ring_beats", "tile_beats", "parameter_beats", "burst_beats")
    sizes = {key: getattr(one, key) for key in derived}
    return {
        "name": name,
        **parameters,
        **{key: list(value) if isinstance(value, tuple) else value for key, value in sizes.items()},
        "fingerprint": f"{one.fingerprint:016x}",
    }


def _size(size: int) -> str:
    return f"{size >> 10} KiB"
