"""How an edge box is reached."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from fieldwave.errors import InputError

__all__ = ["Host"]

# What begins with '-' would be an option of ssh.
_DESTINATION = re.compile(r"(?:[A-Za-z0-9_][\w.\\-]*@)?[\w\[:][\w.:%\]-]*", re.ASCII)
_FOLDER = re.compile(r"(?:/[\w.-]+)+", re.ASCII)


@dataclass(frozen=True)
class Host:
    """An edge box, as ssh is told to find it.

    Attributes:
        destination: ``name``, ``user@name``, an address, or a name that ssh's configuration knows.
        port: of its sshd; 0 for what ssh's configuration says, else 22.
        identity: file of the private key; empty for ssh's own choice (its agent, ``~/.ssh/id_...``).
        config: an ssh configuration file in place of the user's; empty for the user's.
        folder: where on the box everything is kept; empty for ``/var/lib/fieldwave``, or without root's rights
            ``~/.local/share/fieldwave`` there.

    Raises:
        InputError: a name, a port or a folder that cannot be one.
    """

    destination: str
    port: int = 0
    identity: str = ""
    config: str = ""
    folder: str = ""

    def __post_init__(self) -> None:
        if not _DESTINATION.fullmatch(self.destination):
            raise InputError(f"{self.destination!r} is no edge box: expected [user@]name, as ssh takes it")
        if not 0 <= self.port <= 65535:
            raise InputError(f"port {self.port} of {self.destination} is not possible; give one from 1 to 65535")
        for file in (self.identity, self.config):
            if file and not os.path.isfile(os.path.expanduser(file)):
                raise InputError(f"{file} is not there; it was given as a file for ssh to {self.destination}")
        if self.folder and (not _FOLDER.fullmatch(self.folder) or ".." in self.folder.split("/")):
            raise InputError(
                f"{self.folder!r} is no folder on {self.destination}: an absolute path of letters, digits, . _ -"
            )
