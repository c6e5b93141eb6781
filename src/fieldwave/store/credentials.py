"""Who we are to a registry: what docker, podman and skopeo have stored after a login.

The files and helpers are those of containers-auth.json(5) and docker-credential-helpers.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldwave.errors import InputError

__all__ = ["Credentials", "find_credentials"]

_HELPER_SECONDS = 30


@dataclass(frozen=True)
class Credentials:
    """A name and a password, or a token that stands for both."""

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def find_credentials(host: str) -> Credentials | None:
    """The credentials that a login has stored for ``host``, such as ``registry.example.com:5000``.

    Raises:
        InputError: a file of credentials is damaged, or its helper fails.
    """
    for path in _files():
        try:
            config = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read the credentials {path}: {error}; log in again") from None
        found = _in_file(config, host, path) if isinstance(config, dict) else None
        if found:
            return found
    return None


def _files() -> list[Path]:
    runtime, docker, home = (os.environ.get(name, "") for name in ("XDG_RUNTIME_DIR", "DOCKER_CONFIG", "HOME"))
    chosen = os.environ.get("REGISTRY_AUTH_FILE", "")
    files = [Path(chosen)] if chosen else []
    files += [Path(runtime) / "containers" / "auth.json"] if runtime else []
    if docker or home:
        files.append((Path(docker) if docker else Path(home) / ".docker") / "config.json")
    return files


def _in_file(config: dict[str, Any], host: str, path: Path) -> Credentials | None:
    helper = config.get("credHelpers", {}).get(host)
    if helper:
        return _ask(str(helper), host)
    entry = config.get("auths", {}).get(host)
    if not isinstance(entry, dict):
        return None
    if entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except ValueError:
            raise InputError(f"the credentials for {host} in {path} are damaged; log in again") from None
        return Credentials(user, password)
    store = config.get("credsStore")
    return _ask(str(store), host) if store else None


def _ask(helper: str, host: str) -> Credentials | None:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise InputError(f"the credentials for {host} are with docker-credential-{helper}, which is not installed")
    try:
        result = subprocess.run(
            [program, "get"], input=host, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        if result.returncode:
            return None  # "credentials not found" is told in this way
        answer = json.loads(result.stdout)
        return Credentials(str(answer["Username"]), str(answer["Secret"]))
    except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        raise InputError(f"docker-credential-{helper} gives no credentials for {host}: {error}") from None
