"""Layers of a base, read once: what they hold, and the digest of the archive inside."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from fieldwave.errors import InputError, StorageError
from fieldwave.images.tree import Tree
from fieldwave.images.wheels import Progress

__all__ = ["Flattened", "read_layer", "read_root_filesystem"]

_TAR = "application/vnd.oci.image.layer.v1.tar"
_GZIP = f"{_TAR}+gzip"
_PIECE = 1 << 20
_BOMB = 8 << 30
"""The most bytes that a layer may unpack to."""


@dataclass(frozen=True)
class Flattened:
    """A layer in a file: its type and size, the digest of its archive, and the paths of all layers so far."""

    path: Path
    media_type: str
    size: int
    diff_id: str
    tree: Tree


def read_layer(path: Path, media_type: str, tree: Tree, place: str) -> Flattened:
    """Put a layer on top of ``tree``.

    Raises:
        InputError: it is no tar archive, or leads out of itself.
        StorageError: it cannot be read.
    """
    with _reading(path, place), path.open("rb") as file:
        opened = gzip.GzipFile(fileobj=file) if media_type == _GZIP else file
        archive = _Hashed(cast("IO[bytes]", opened), place)
        tree.add(cast("IO[bytes]", archive), place)
        archive.drain()
    return Flattened(path, media_type, path.stat().st_size, f"sha256:{archive.digest.hexdigest()}", tree)


def read_root_filesystem(path: Path, scratch: Path, progress: Progress) -> Flattened | None:
    """A root filesystem's archive as a layer; None if the archive holds an OCI layout.

    One that is gzipped is taken as it is, byte for byte. Another one is compressed here, by zlib: the digest of
    the layer then depends on zlib's version.

    Raises:
        InputError: it is no tar archive, or leads out of itself.
        StorageError: it cannot be read.
    """
    with _reading(path, str(path)):
        with path.open("rb") as file:
            magic = file.read(6)
        if magic.startswith(b"\x28\xb5\x2f\xfd"):
            raise InputError(f"{path} is compressed by zstd, which cannot be read here; unpack it first (zstd -d)")
        with tarfile.open(path, "r|*") as archive:
            names = [member.name.removeprefix("./") for member, _ in zip(archive, range(100), strict=False)]
        if "oci-layout" in names or "index.json" in names:
            return None
        layer = path
        if not magic.startswith(b"\x1f\x8b"):
            progress(f"compressing {path}", 0.3)
            layer = scratch / "rootfs.tar.gz"
            _compress(path, layer, magic.startswith(b"\xfd7zXZ\0"))
    progress(f"reading {path}", 0.6)
    tree = Tree()
    with _reading(path, str(path)), layer.open("rb") as file:
        hashed = _Hashed(cast("IO[bytes]", gzip.GzipFile(fileobj=file)), str(path))
        tree.add(cast("IO[bytes]", hashed), str(path), first=True)
        hashed.drain()
    return Flattened(layer, _GZIP, layer.stat().st_size, f"sha256:{hashed.digest.hexdigest()}", tree)


class _Hashed:
    """A stream that is read once, hashed as it goes by, and bounded."""

    def __init__(self, stream: IO[bytes], place: str) -> None:
        self._stream = stream
        self._place = place
        self._size = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        self._size += len(data)
        if self._size > _BOMB:
            raise InputError(f"{self._place} unpacks to more than {_BOMB} bytes")
        return data

    def drain(self) -> None:
        while self.read(_PIECE):
            pass


def _compress(source: Path, target: Path, xz: bool) -> None:
    compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
    opened = lzma.open if xz else open
    with opened(source, "rb") as reader, target.open("wb") as writer:
        while piece := reader.read(_PIECE):
            writer.write(compressor.compress(piece))
        writer.write(compressor.flush())


@contextlib.contextmanager
def _reading(path: Path, place: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(f"{place} is no tar archive, or damaged: {error}") from None
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
