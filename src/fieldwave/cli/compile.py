"""``fieldwave compile``: a quantized network to programs of the NPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.network import Network, read_network
from fieldwave.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fieldwave.compiler import Compiled, Summary

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave compile rn50.zip --npu sim16 --npu u250",
        "fieldwave compile rn50.zip --npu zcu104 --explain | less",
        "fieldwave compile rn50.zip --npu sim32 --output rn50.zip",
        "fieldwave compile quantized.onnx --npu tiny --output quantized.npu",
    )
)
def compile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A package, or a quantized .onnx file.")],
    npu: Annotated[
        list[str], typer.Option(help="The NPU; may be repeated. [dim]fieldwave npu list[/dim]", metavar="NAME")
    ],
    explain: Annotated[bool, typer.Option("--explain", help="Print what every pass decided.")] = False,
    output_file: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The package with the programs in it; or FILE.npu, for the program alone."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile a quantized network for NPUs: what runs there, what it takes, and the program itself.

    Without --output nothing is written.
    """
    from fieldwave.compiler import compile_network, summarize
    from fieldwave.compiler import explain as decisions
    from fieldwave.conversion import left_to_host
    from fieldwave.errors import ModelError
    from fieldwave.npu import configuration

    names = list(dict.fromkeys(npu))
    wanted = {name: configuration(name) for name in names}  # a wrong name fails before anything is compiled
    alone = output_file is not None and output_file.suffix == ".npu"
    if alone and len(wanted) > 1:
        raise typer.BadParameter("one file holds one program; name one --npu", param_hint="'--output'")
    network = read_network(model)
    if output_file is not None and not alone and network.package is None:
        raise typer.BadParameter("an .onnx file has no package; say FILE.npu", param_hint="'--output'")
    made: dict[str, Compiled] = {}
    with output.progress() as progress:
        for name, parameters in wanted.items():
            progress(f"compiling for {name}", len(made) / len(wanted))
            try:
                made[name] = compile_network(network.graph, parameters)
            except ModelError as error:
                raise ModelError(f"for {name}: {error}") from error
    rows = {name: summarize(compiled) for name, compiled in made.items()}
    if as_json:
        output.to_json(
            [
                _facts(rows[name])
                | {"refusals": dict(compiled.program.refusals)}
                | ({"explanation": decisions(compiled).splitlines()} if explain else {})
                for name, compiled in made.items()
            ]
        )
    elif explain:
        for name, compiled in made.items():
            output.data(f"{network.name} on {name}")
            output.data(decisions(compiled).rstrip("\n"))
    else:
        _print(list(rows.values()))
    for name, compiled in made.items():
        if left := left_to_host(compiled):
            output.note(f"note: {name}: the host computes {left}")
    if output_file is not None:
        _write(output_file, network, made)
    elif not explain:
        output.hint(f"fieldwave compile {model} --npu {names[0]} --explain")


def _write(path: Path, network: Network, made: dict[str, Compiled]) -> None:
    from fieldwave.compiler import write_program
    from fieldwave.conversion import with_programs
    from fieldwave.files import write_atomically
    from fieldwave.package import Program

    programs = {
        Program(
            file=f"{name}.npu", configuration=name, fingerprint=f"{compiled.program.fingerprint:016x}"
        ): write_program(compiled.program)
        for name, compiled in made.items()
    }
    if network.package is None or path.suffix == ".npu":
        write_atomically(path, next(iter(programs.values())))
        output.note(f"{path}  {output.size(path.stat().st_size)}")
        return
    package = with_programs(network.package, programs, path)
    output.note(f"{path}  {output.size(path.stat().st_size)}  {package.digest}")
    output.hint(f"fieldwave verify {path} IMAGE.jpg --device rtl:{next(iter(made))}")


def _print(rows: list[Summary]) -> None:
    output.table(
        ["NPU", "SECTIONS", "MACS ON NPU", "CYCLES, AT LEAST", "OF THE ARRAY", "PROGRAM", "MEMORY", "STREAMED"],
        [
            [
                one.configuration,
                ", ".join(one.sections),
                f"{100 * one.npu_share:.2f} %",
                f"{one.array_cycles:,}",
                f"{100 * one.utilisation:.1f} %",
                output.size(one.image_bytes),
                output.size(one.arena_bytes),
                f"{len(one.streamed)} tensors" if one.streamed else "-",
            ]
            for one in rows
        ],
    )


def _facts(one: Summary) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(one), "npu_share": one.npu_share, "utilisation": one.utilisation}
