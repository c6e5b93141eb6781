"""``fieldwave keys``: keys in a folder, for services that are run by hand."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.cli import output
from fieldwave.cli.examples import examples
from fieldwave.cli.options import Json, Quiet
from fieldwave.errors import ConflictError

if TYPE_CHECKING:
    from fieldwave.keys import Keys

__all__ = ["Lifetime", "app", "show_token"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Keys in a folder: make them, replace one, sign tokens.",
    epilog=examples("fieldwave keys create keys", "fieldwave serve rn50.zip --keys keys"),
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds the files 'primary' and 'secondary'.")]


def _lifetime(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no time; write 30s, 15m, 1h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


Lifetime = Annotated[
    timedelta,
    typer.Option("--lifetime", parser=_lifetime, metavar="TIME", help="How long it is valid: 30s, 15m, 1h, 7d."),
]


@app.command(epilog=examples("fieldwave keys create keys"))
def create(folder: Folder, quiet: Quiet = False) -> None:
    """Make a folder with two new keys.

    Only this user can read it.
    """
    from fieldwave.keys import Keys, write_keys

    if folder.exists():
        raise ConflictError(f"{folder} is there already; for new keys: fieldwave keys regenerate {folder} primary")
    write_keys(folder, Keys.generate())
    output.note(f"two keys are in {folder}; clients send either")
    output.hint(f"fieldwave serve PACKAGE --keys {folder}")


@app.command(epilog=examples("fieldwave keys regenerate keys primary"))
def regenerate(
    folder: Folder,
    which: Annotated[str, typer.Argument(metavar="WHICH", help="primary or secondary.")],
    quiet: Quiet = False,
) -> None:
    """Put a new key into the place of one.

    Services that read the folder follow within a second, without a restart; clients with the other key notice
    nothing. Tokens that the old key has signed end.
    """
    from fieldwave.keys import regenerate_key

    regenerate_key(folder, which)  # type: ignore[arg-type]  # the name is checked there
    other = "secondary" if which == "primary" else "primary"
    output.note(f"the {which} key in {folder} is new, the {other} key is as it was")


@app.command(epilog=examples("fieldwave keys token keys --lifetime 15m"))
def token(
    folder: Folder,
    service: Annotated[str, typer.Option(help="Who it is for, as its readers see it.")] = "",
    lifetime: Lifetime = "1h",  # type: ignore[assignment]  # typer parses it
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print a token that opens the service for a while, signed with the primary key.

    It is sent as a key is, and names none.
    """
    from fieldwave.keys import read_keys

    show_token(read_keys(folder), service, lifetime, as_json)


def show_token(keys: Keys, service: str, lifetime: timedelta, as_json: bool) -> None:
    """Sign a token and print it."""
    from fieldwave.keys import sign_token

    signed = sign_token(keys, service, lifetime)
    expires = signed.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    if as_json:
        output.to_json({"token": signed.value, "expires": expires})
        return
    output.data(signed.value)
    output.note(f"valid until {expires}")
