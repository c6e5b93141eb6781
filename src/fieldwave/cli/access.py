"""Options of commands that call a service by its address: how to be let in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldwave.errors import InputError, NotFoundError, StorageError

if TYPE_CHECKING:
    from fieldwave.client import PredictionClient

__all__ = ["Access", "Ca", "ClientCert", "ClientKey", "KeyFile", "TlsOption"]

_PANEL = "For a service called by HOST:PORT"
_TOKEN = "FIELDWAVE_ACCESS_TOKEN"

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help=f"Holds a key or a token; else it is taken from {_TOKEN} in the environment.",
    ),
]
TlsOption = Annotated[bool, typer.Option("--tls", rich_help_panel=_PANEL, help="Call it with TLS.")]
Ca = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="FILE", rich_help_panel=_PANEL, help="TLS: whom to trust instead of the system's, PEM."
    ),
]
ClientCert = Annotated[
    Path | None,
    typer.Option("--client-cert", metavar="FILE", rich_help_panel=_PANEL, help="Mutual TLS: my certificate, PEM."),
]
ClientKey = Annotated[
    Path | None,
    typer.Option("--client-key", metavar="FILE", rich_help_panel=_PANEL, help="Mutual TLS: its private key, PEM."),
]


@dataclass(frozen=True)
class Access:
    """What the options said; files of TLS mean TLS. No option takes a key itself: every user could see it (ps)."""

    key_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def client(self, address: str, model: str = "") -> PredictionClient:
        """A client of the service at ``HOST:PORT``, of a model there.

        Raises:
            InputError, NotFoundError, StorageError: a file is missing, or is not what it should be.
        """
        from fieldwave.client import PredictionClient

        token = (
            os.environ.get(_TOKEN, "")
            if self.key_file is None
            else _content(self.key_file).decode(errors="replace")
        )
        ca, certificate, key = (
            None if path is None else _content(path) for path in (self.ca, self.client_cert, self.client_key)
        )
        return PredictionClient(
            address,
            use_ssl=self.tls or any(one is not None for one in (ca, certificate, key)),
            access_token=token,
            root_certificates=ca,
            client_certificate=certificate,
            client_key=key,
            model=model,
        )

    def check_unused(self, name: str) -> None:
        """Raises InputError if an option was given for ``name``, which is no address."""
        if self != Access():
            raise InputError(f"{name} is no HOST:PORT; leave out the options of TLS and --key-file")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no file {path}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
