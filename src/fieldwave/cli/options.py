"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from fieldwave.cli import output

__all__ = ["Json", "Quiet"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print data and errors only.", callback=output.set_quiet),
]
