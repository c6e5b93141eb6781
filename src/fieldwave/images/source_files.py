"""Fieldwave's own files, as they are put into an image: those of the package that is running."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from fieldwave.errors import StorageError
from fieldwave.version import __version__

__all__ = ["SourceFile", "digest", "source_files"]

SourceFile = tuple[str, bytes]
"""A path below the folder that Python imports from, and the file's bytes."""

_METADATA = f"""\
Metadata-Version: 2.1
Name: fieldwave
Version: {__version__}
"""
_ENTRY_POINTS = """\
[console_scripts]
fieldwave = fieldwave.cli:main
"""


def source_files() -> list[SourceFile]:
    """All files of the package, sorted; and what an installation says of itself, so that its version is found.

    Whether it was installed from a wheel or runs in a clone: the same files, the same bytes.

    Raises:
        StorageError: one cannot be read.
    """
    top = Path(__file__).parents[1]
    try:
        found = [
            (f"fieldwave/{path.relative_to(top).as_posix()}", path.read_bytes())
            for path in sorted(top.rglob("*"))
            if path.is_file() and path.suffix != ".pyc" and not path.name.startswith(".")
        ]
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from error
    about = f"fieldwave-{__version__}.dist-info"
    said = [(f"{about}/METADATA", _METADATA), (f"{about}/entry_points.txt", _ENTRY_POINTS)]
    return sorted([*found, *((name, text.encode()) for name, text in said)])


def digest(files: Sequence[SourceFile]) -> str:
    """SHA-256 over names and bytes, in hexadecimal digits."""
    total = hashlib.sha256()
    for name, data in files:
        total.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()
