"""``fieldwave clean``: a service with all that it came from, or what nothing leads to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, On, Quiet

if TYPE_CHECKING:
    from fieldwave.clean import Plan

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@app.command(
    epilog=examples(
        "fieldwave clean",
        "fieldwave clean --service digits",
        "fieldwave clean --service digits --on cluster --yes",
    )
)
def clean(
    service: Annotated[str, typer.Option("--service", "-s", metavar="NAME", help="A service and all of it.")] = "",
    on: On = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Free the space of what nothing leads to; with a service, remove it, its image and its models.

    What something else needs stays. What goes is shown before.
    """
    from fieldwave.clean import clean, collect_garbage, plan
    from fieldwave.workspace import Workspace

    workspace = Workspace.find()
    if not service:
        with output.waiting("looking for what nothing leads to"):
            freed = collect_garbage(workspace)
        _freed(freed, [], as_json)
        return
    found = plan(workspace, service, on)
    gone = _show(found)
    if not yes and not typer.confirm("Delete all of that?", err=True):
        raise typer.Exit(1)
    with output.waiting(f"deleting {service} and what it came from"):
        freed = clean(workspace, found, output.note)
    _freed(freed, gone, as_json)


def _show(found: Plan) -> list[str]:
    gone = [f"service {found.name}"] if found.service else []
    gone += [f"image {found.image.id}"] if found.image else []
    gone += [f"model {model.id}" for model in found.models]
    for each in gone:
        output.note(f"goes   {each}")
    for each in found.kept:
        output.note(f"stays  {each}")
    return gone


def _freed(freed: int, gone: list[str], as_json: bool) -> None:
    if as_json:
        value: dict[str, Any] = {"deleted": gone, "freed": freed}
        output.to_json(value)
    else:
        output.data(f"{freed / 1e6:.1f} MB freed")
