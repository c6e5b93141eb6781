"""A file on its way to a registry, in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fieldwave.errors import StorageError

__all__ = ["FileBody", "digest_of_file"]

_PIECE = 1 << 20


class FileBody:
    """A file as a body that can be sent again, should the registry ask for a token first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


def digest_of_file(path: Path) -> tuple[str, int]:
    """Digest and size in bytes; StorageError where it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        for piece in FileBody(path):
            digest.update(piece)
            size += len(piece)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return f"sha256:{digest.hexdigest()}", size
