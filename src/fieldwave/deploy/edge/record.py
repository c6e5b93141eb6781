"""What was asked for on a box: ``service.json`` there, one line."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from fieldwave.deploy.edge.box import Listed
from fieldwave.deploy.state import Shared
from fieldwave.errors import StorageError

__all__ = ["Record", "me", "read_records"]


@dataclass(frozen=True)
class Record:
    """What was asked for.

    Attributes:
        image: what it was deployed from, ``name:version@digest``, or the archive's name with its digest.
        reference: the name that the image has in podman there.
        layout: the hexadecimal digest of the image's manifest; what is kept of the image there goes by it.
        package, network, model, device, created: as in `fieldwave.deploy.Service`.
        port: where it listens; ``probe_port``: where it tells its health, on loopback.
        secure: whether it wants keys and speaks TLS.
        certificate: the one it shows, PEM; it signed it itself.
        http_port: for REST and metrics; 0 for none.
        also: the packages that take turns with the image's on the device.
        token: names the last change; ``by``: who made it.
    """

    name: str
    image: str
    reference: str
    layout: str
    package: str
    network: str
    model: str
    device: str
    created: str
    port: int
    probe_port: int
    secure: bool
    certificate: str
    token: str
    by: str
    http_port: int = 0
    also: tuple[Shared, ...] = ()

    @property
    def pod(self) -> str:
        """The name of its pod."""
        return f"fieldwave-{self.name}"

    @property
    def container(self) -> str:
        """The name of its container."""
        return f"{self.pod}-server"

    def http(self, host: str) -> tuple[str, ...]:
        """Where REST and metrics are, if anywhere; ``host`` is how the box is reached."""
        scheme = "https" if self.secure else "http"
        return (f"{scheme}://{host}:{self.http_port}",) if self.http_port else ()

    def to_json(self) -> str:
        """One line, as the box's script reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, said: Mapping[str, Any], box: str) -> Record:
        """The reverse. Keys that are not known here were written by a newer Fieldwave and are left alone.

        Raises:
            StorageError: something is missing.
        """
        try:
            known = [one for one in fields(cls) if one.default is MISSING or one.name in said]
            values = {one.name: said[one.name] for one in known}
            return cls(**values | {"also": tuple(Shared(**one) for one in values.get("also", ()))})
        except KeyError as error:
            name = said.get("name", "?")
            raise StorageError(
                f"{box}: the record of service {name!r} there lacks {error}; delete it and deploy it again"
            ) from None


def me() -> str:
    """Who makes a change: ``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def read_records(listed: Listed, box: str) -> tuple[Record, ...]:
    """The records of what is on a box, by name.

    Raises:
        StorageError: one is damaged.
    """
    return tuple(sorted((Record.from_json(said, box) for said in listed.records), key=lambda one: one.name))
