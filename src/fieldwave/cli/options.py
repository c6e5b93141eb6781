"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from fieldwave.cli import output

__all__ = ["Json", "On", "Quiet"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
On = Annotated[str, typer.Option("--on", metavar="COMPUTE", help="Where; else what fieldwave.toml says, or here.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print data and errors only.", callback=output.set_quiet),
]
