"""The wheels that the runtime needs, each by its hash: ``runtime-amd64.txt`` and ``runtime-arm64.txt``.

The files are pip's requirements with hashes (pip's documentation, "Secure installs"), so that pip itself can be
asked for them. ``python -m fieldwave.images.relock`` writes them anew, from what pyproject.toml asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fieldwave.errors import InputError

__all__ = ["ARCHITECTURES", "PYTHON", "Pinned", "lock_file", "pinned", "pip_target"]

PYTHON = "3.11"
"""The Python of the images: that of Debian 12. The wheels are for it alone."""
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
"""As OCI names an architecture (GOARCH), and as wheels do."""
_GLIBC = (35, 34, 31, 28, 27, 26, 24, 17)
"""The versions 2.x of glibc that a wheel may be built for, of those that wheels are; Debian 12 has 2.36."""
_FOLDER = Path(__file__).parent
_LINE = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_]+) --hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pinned:
    """One wheel: the distribution's name, its version, and the SHA-256 of the file."""

    name: str
    version: str
    sha256: str

    @property
    def id(self) -> str:
        """``name==version``."""
        return f"{self.name}=={self.version}"

    @property
    def line(self) -> str:
        """As pip's requirements have it."""
        return f"{self.id} --hash=sha256:{self.sha256}"


def lock_file(architecture: str) -> Path:
    """The lock file of an architecture, as OCI names it.

    Raises:
        InputError: there is none for it.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"no runtime for {architecture!r}; there is one for {', '.join(ARCHITECTURES)}")
    return _FOLDER / f"runtime-{architecture}.txt"


def pinned(architecture: str) -> list[Pinned]:
    """The wheels of an architecture's lock file.

    Raises:
        InputError: there is none for it, or a line pins nothing.
    """
    path = lock_file(architecture)
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            if match is None:
                raise InputError(f"{path}, line {number}: {line!r} pins no wheel by its hash")
            found.append(Pinned(*match.groups()))
    return found


def pip_target(architecture: str) -> list[str]:
    """The options by which pip chooses wheels for the images, whatever it runs on."""
    machine = ARCHITECTURES[architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC]
    chosen = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    return [*chosen, *(f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}", f"linux_{machine}"))]
