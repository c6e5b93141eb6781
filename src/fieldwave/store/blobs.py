"""The blobs of a layout: files that are named by their SHA-256, and never change."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from fieldwave.errors import ArtifactError, FieldwaveError, NotFoundError, StorageError
from fieldwave.files import sync_folder, write_atomically
from fieldwave.store.body import PIECE, pieces_of
from fieldwave.store.content import Descriptor, check_digest, digest_of
from fieldwave.store.protocol import Layer, Stored

__all__ = ["Blobs"]


class Blobs:
    """The folder ``blobs/sha256`` of a layout."""

    def __init__(self, layout: Path) -> None:
        self._layout = layout
        self.folder = layout / "blobs" / "sha256"

    def path(self, digest: str) -> Path:
        """The file of a blob, whether it is there or not."""
        return self.folder / check_digest(digest).removeprefix("sha256:")

    def has(self, digest: str, size: int) -> bool:
        """Whether a blob of that size is there."""
        with contextlib.suppress(OSError):
            return self.path(digest).stat().st_size == size
        return False

    def read(self, digest: str, repository: str) -> Iterator[bytes]:
        """A blob in pieces; the last one comes only if all are what the digest names. Errors as of a store."""
        path = self.path(digest)
        found, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                piece = file.read(PIECE)
                while piece:
                    following = file.read(PIECE)
                    found.update(piece)
                    size += len(piece)
                    if not following and f"sha256:{found.hexdigest()}" != digest:
                        break
                    yield piece
                    piece = following
        except FileNotFoundError:
            raise NotFoundError(f"{self._layout} has no blob {digest} ({repository})") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
        if f"sha256:{found.hexdigest()}" != digest:
            raise ArtifactError(
                f"{path} is damaged: its {size} bytes are sha256:{found.hexdigest()[:12]}…; "
                "delete the file and push again"
            )

    def put(self, layer: Layer) -> Descriptor:
        """Store what a layer holds, if it is not there."""
        data = layer.data
        if isinstance(data, bytes):
            digest, size = digest_of(data), len(data)
            if not self.has(digest, size):
                write_atomically(self.path(digest), data)
        elif isinstance(data, Stored):
            digest, size = data.descriptor.digest, data.descriptor.size
            if not self.has(digest, size):
                if data.store is None:
                    raise NotFoundError(f"{self._layout} has no blob {digest} ({data.repository})")
                self._write(data.store.read(data.repository, data.descriptor), f"{data.repository}@{digest}")
        else:
            digest, size = self._write(pieces_of(data), str(data))
        return Descriptor(layer.media_type, digest, size, annotations=layer.annotations)

    def _write(self, pieces: Iterable[bytes], origin: str) -> tuple[str, int]:
        temporary = self.folder / f".{secrets.token_hex(8)}"
        digest, size = hashlib.sha256(), 0
        try:
            with temporary.open("xb") as writer:
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    writer.write(piece)
                writer.flush()
                os.fsync(writer.fileno())
            name = f"sha256:{digest.hexdigest()}"
            temporary.replace(self.path(name))
        except BaseException as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if isinstance(error, FieldwaveError) or not isinstance(error, OSError):
                raise
            raise StorageError(
                f"cannot store {origin} in {self._layout}: {error.strerror or error}; nothing was left behind"
            ) from error
        sync_folder(self.folder)
        return name, size
