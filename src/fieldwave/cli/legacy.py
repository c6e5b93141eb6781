"""``fieldwave legacy``: scripts of the retired service."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.errors import FieldwaveError

__all__ = ["app"]

_PACKAGE = str(Path(__file__).parents[1])

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Run scripts and notebooks that were written for the retired service, as they are.",
    epilog=examples("fieldwave legacy run quickstart.ipynb", "fieldwave legacy run --explain deploy.py"),
)


@app.callback()
def _legacy() -> None:
    """Keeps ``run`` a command of its own: more will come."""


@app.command(
    epilog=examples("fieldwave legacy run quickstart.ipynb", "fieldwave legacy run --explain deploy.py"),
    context_settings={"allow_interspersed_args": False},
)
def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A .py file or a notebook.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="The script's own.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each call would be natively.")] = False,
) -> None:
    """Run a script with the names that it imports.

    azureml is found here, tensorflow has TensorFlow 1's names, and what it would download from addresses that are
    gone comes out of this package. Options of this command stand before the script.
    """
    from fieldwave.compat.azureml.explanation import explain_to
    from fieldwave.compat.legacy.run import run as run_script

    if explain:
        explain_to(output.note)
    try:
        run_script(script, arguments or ())
    except FieldwaveError:
        raise
    except Exception as error:
        # What the script raises is told as Python tells it, from the script's own first line on.
        frames = traceback.extract_tb(error.__traceback__)
        shown = [frame for frame in frames if not frame.filename.startswith((_PACKAGE, "<frozen runpy>"))]
        typer.echo("Traceback (most recent call last):", err=True)
        typer.echo("".join(traceback.format_list(shown)) + _told(error), nl=False, err=True)
        raise typer.Exit(1) from None


def _told(error: Exception) -> str:
    return "".join(traceback.format_exception_only(error))
