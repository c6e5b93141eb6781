"""``fieldwave init``: mark a folder as a project's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Quiet

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(epilog=examples("fieldwave init", "fieldwave init vision --location Oslo"))
def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="The project's top folder.")] = Path("."),
    name: Annotated[str, typer.Option("--name", "-n", help="What to call it; else as its folder.")] = "",
    location: Annotated[str, typer.Option(help="Where it is, for people to read.")] = "",
    quiet: Quiet = False,
) -> None:
    """Make a workspace: models and services of this folder and all below it are kept there."""
    from fieldwave.workspace import Workspace

    workspace = Workspace.create(folder, name=name, location=location)
    output.data(f"{workspace.name}  {workspace.root}")
    output.hint("fieldwave models register PACKAGE --name NAME")
