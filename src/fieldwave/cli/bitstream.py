"""``fieldwave bitstream``: bitstreams of boards; boards, build, program; project for vendors' tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet

if TYPE_CHECKING:
    from fieldwave.boards.bitstream import Bitstream

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Bitstreams: the NPU on boards that can be bought.",
    epilog=examples("fieldwave bitstream boards", "fieldwave bitstream build --board ulx3s-85f"),
)

BoardName = Annotated[str, typer.Option("--board", metavar="NAME", help="One of 'fieldwave bitstream boards'.")]


@app.command(epilog=examples("fieldwave bitstream boards", "fieldwave bitstream boards --json"))
def boards(as_json: Json = False) -> None:
    """List the boards that bitstreams are built for."""
    from dataclasses import asdict

    from fieldwave.boards import BOARDS

    known = [one for one in BOARDS.values() if one.part]
    if as_json:
        output.to_json([asdict(one) for one in known])
        return
    output.table(
        ["NAME", "BOARD", "PART", "MEMORY", "LINK", "NPU", "CLOCK"],
        [
            [
                one.name,
                one.title,
                one.part,
                f"{one.dram.bytes >> 20} MiB {one.dram.kind.upper()}",
                one.link,
                one.npu,
                f"{one.megahertz:g} MHz",
            ]
            for one in known
        ],
    )


@app.command(
    epilog=examples(
        "fieldwave bitstream build --board ulx3s-85f",
        "fieldwave bitstream build --board ulx3s-85f --npu tiny --clock 50 --output tiny.bit",
    )
)
def build(
    board_name: BoardName,
    npu: Annotated[
        str | None,
        typer.Option(
            help="A configuration of the NPU, or its .json file; the board's if not given.", metavar="NAME"
        ),
    ] = None,
    clock: Annotated[
        float | None, typer.Option(help="Clock of the system; the board's if not given.", metavar="MHZ", min=1.0)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the placement: another one, another clock.", min=1)] = 1,
    output_file: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bitstream; BOARD.bit if not given.", metavar="FILE")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build a bitstream: Verilog, synthesis, place and route; from the cache if nothing has changed.

    Takes many minutes. Beside FILE goes a report in JSON, with the fingerprint of the NPU. Nothing is written
    when a clock is missed.
    """
    import json

    from fieldwave.boards import board
    from fieldwave.boards.bitstream import build_bitstream, facts
    from fieldwave.files import write_atomically
    from fieldwave.npu import configuration

    chosen = board(board_name)
    with output.progress() as progress:
        built = build_bitstream(
            chosen, configuration(npu or chosen.npu), megahertz=clock, seed=seed, progress=progress
        )
    target = output_file or Path(f"{chosen.name}.bit")
    report = json.dumps(facts(built), indent=2) + "\n"
    write_atomically(target, built.file.read_bytes())
    write_atomically(target.with_suffix(".json"), report.encode())
    if as_json:
        output.to_json(facts(built))
    else:
        _print(built, target)
    output.hint(f"fieldwave bitstream program {target} --board {chosen.name}")


@app.command(
    epilog=examples(
        "fieldwave bitstream program ulx3s-85f.bit --board ulx3s-85f",
        "fieldwave bitstream program ulx3s-85f.bit --board ulx3s-85f --flash",
    )
)
def program(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bitstream, as 'bitstream build' writes it.")],
    board_name: BoardName,
    flash: Annotated[bool, typer.Option("--flash", help="Keep it over a loss of power; else until then.")] = False,
    quiet: Quiet = False,
) -> None:
    """Configure a board's FPGA over its USB cable; needs openFPGALoader."""
    from fieldwave.boards import board
    from fieldwave.boards.program import program_board

    with output.waiting(f"openFPGALoader configures the {board_name} ..."):
        program_board(board(board_name), file, flash=flash)
    output.note(f"{board_name} runs {file}")


@app.command(
    epilog=examples(
        "fieldwave bitstream project --card u250 --output u250",
        "fieldwave bitstream project --card kv260 --npu best.json --output kv260",
    )
)
def project(
    card_name: Annotated[
        str,
        typer.Option(
            "--card", metavar="NAME", help="u250, zcu104, kv260 or arria10-1150. [dim]docs/cards.md[/dim]"
        ),
    ],
    output_folder: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the files go.")],
    npu: Annotated[
        str | None,
        typer.Option(
            help="A configuration of the NPU, or its .json file; the card's if not given.", metavar="NAME"
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the project of a card that only its vendor's tools build for: Verilog, scripts, constraints, a README.

    For an array of 64 x 64 this takes some minutes. Equal inputs give equal files.
    """
    from fieldwave.errors import MissingExtraError
    from fieldwave.npu import configuration

    try:
        from fieldwave.cards import card, write_project
    except ImportError as error:
        raise MissingExtraError("writing Verilog", "gateware") from error
    chosen = card(card_name)
    with output.progress() as progress:
        written = write_project(chosen, configuration(npu or chosen.name), output_folder, progress=progress)
    size = sum(path.stat().st_size for path in written)
    output.note(f"{output_folder}  {len(written)} files, {size / 1e6:.1f} MB, for {chosen.title}")
    output.hint(f"cat {output_folder / 'README.md'}")


def _print(built: Bitstream, target: Path) -> None:
    placed: Any = built.placed
    rows = [[name, str(used), str(there), f"{used / there:.0%}"] for name, (used, there) in placed.cells.items()]
    output.table(["OF THE PART", "USED", "THERE", ""], rows)
    output.data("")
    output.table(
        ["CLOCK", "ASKED", "REACHED"],
        [[one.name, f"{one.asked:.1f} MHz", f"{one.reached:.1f} MHz"] for one in placed.clocks],
    )
    output.note(f"{target}  {built.npu.fingerprint:016x}  (all files: {built.folder})")
