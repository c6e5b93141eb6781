"""Content on its way into a store, in pieces, so that an image's layer never stands in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from fieldwave.errors import StorageError

__all__ = ["PIECE", "Body", "digest_of_file", "pieces_of"]

PIECE = 1 << 20


class Body:
    """What can be sent again from its beginning, should a registry ask for a token first."""

    def __init__(self, begin: Callable[[], Iterator[bytes]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[bytes]:
        return self._begin()


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def digest_of_file(path: Path) -> tuple[str, int]:
    """Digest and size in bytes; StorageError where it cannot be read."""
    digest, size = hashlib.sha256(), 0
    try:
        for piece in pieces_of(path):
            digest.update(piece)
            size += len(piece)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    return f"sha256:{digest.hexdigest()}", size
