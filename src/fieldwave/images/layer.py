"""A layer of ours, written so that equal files give equal bytes: on any machine, under any Python.

A tar archive (POSIX.1-1988 ustar) of folders and files in the order that they are added, all of root's, at the
time 0, with modes that are said and not found; in gzip members that no compressor made
(:mod:`fieldwave.images.members`).
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fieldwave.errors import InputError, StorageError
from fieldwave.images.members import around, stored

__all__ = ["LAYER", "LayerWriter", "WrittenLayer"]

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_BLOCK = 512
_END = bytes(2 * _BLOCK)
_SMALL = 1 << 18
_LARGEST = 8**11 - 1


@dataclass(frozen=True)
class WrittenLayer:
    """A layer in a file; ``diff_id`` is the digest of the archive before gzip, as a configuration has it."""

    path: Path
    digest: str
    diff_id: str
    size: int


class LayerWriter:
    """Writes one layer to ``path``.

    Raises:
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._digest, self._diff = hashlib.sha256(), hashlib.sha256()
        self._size = 0
        self._folders: set[str] = set()
        self._names: set[str] = set()
        self._waiting: list[bytes] = []

    def __enter__(self) -> LayerWriter:
        try:
            self._file = self._path.open("xb")
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
        if error is not None:
            self._path.unlink(missing_ok=True)

    def folder(self, name: str, *, above: str = "", mode: int = 0o755) -> None:
        """Add a folder, and before it those that it lies in; one that was added is not added again.

        Those down to ``above`` are in a layer below, and keep the modes that they have there.
        """
        parts = name.split("/")
        for depth in range(len(above.split("/")) + 1 if above else 1, len(parts) + 1):
            each = "/".join(parts[:depth])
            if each not in self._folders:
                self._folders.add(each)
                self._add(_header(f"{each}/", 0, mode, b"5"))

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a file of these bytes; the folder that it lies in must have been added, or be in a layer below."""
        self._begin(name, len(data), mode)
        self._add(data + _padding(len(data)))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._names.add(name)
        self._add(_header(name, 0, 0o777, b"2", target.encode()))

    def deflated_file(self, name: str, deflated: bytes, crc: int, size: int, mode: int = 0o644) -> None:
        """Add a file that is a deflate stream already, whose content has this CRC-32 and size.

        Raises:
            InputError: the stream is not what it is said to be.
        """
        self._begin(name, size, mode)
        self._flush()
        try:
            data = zlib.decompress(deflated, wbits=-15, bufsize=max(size, 1))
        except zlib.error as error:
            raise InputError(f"{name} is damaged: {error}") from None
        if len(data) != size or zlib.crc32(data) != crc:
            raise InputError(f"{name} is damaged: its {len(data)} bytes are not the {size} that were packed")
        self._diff.update(data)
        self._write(around(deflated, crc, size))
        self._add(_padding(size))

    def finish(self) -> WrittenLayer:
        """End the archive, make it durable, and say what it is."""
        assert self._file is not None
        self._add(_END)
        self._flush()
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error
        digests = [f"sha256:{each.hexdigest()}" for each in (self._digest, self._diff)]
        return WrittenLayer(self._path, digests[0], digests[1], self._size)

    def _begin(self, name: str, size: int, mode: int) -> None:
        if name in self._names:
            raise InputError(f"two files of the image are named {name}")
        if size > _LARGEST:
            raise InputError(f"{name} has {size} bytes, at most {_LARGEST} fit into an image")
        self._names.add(name)
        self._add(_header(name, size, mode, b"0"))

    def _add(self, data: bytes) -> None:
        """Small pieces wait for each other: a member around each would cost 23 bytes."""
        self._waiting.append(data)
        if sum(map(len, self._waiting)) >= _SMALL:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        if data:
            self._diff.update(data)
            self._write(stored(data))

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        self._digest.update(data)
        self._size += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror or error}") from error


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _header(name: str, size: int, mode: int, kind: bytes, target: bytes = b"") -> bytes:
    """One header: name, mode, owner, group, size, time, checksum, kind, link, magic, names, device, prefix."""
    prefix, short = _split(name)
    parts = [
        short.ljust(100, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,
        b"%011o\0" % size,
        b"%011o\0" % 0,
        b" " * 8,
        kind,
        target.ljust(100, b"\0"),
        b"ustar\x0000",
        bytes(64),
        b"0000000\0" * 2,
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    parts[5] = b"%06o\0 " % sum(b"".join(parts))
    return b"".join(parts)


def _split(name: str) -> tuple[bytes, bytes]:
    """A name as ustar has it: up to 155 bytes, a slash, up to 100 bytes."""
    text = name.encode()
    if len(text) <= 100:
        return b"", text
    at = text.find(b"/", len(text) - 101, len(text) - 1)
    if at < 0 or at > 155:
        raise InputError(f"the name {name} of {len(text)} bytes does not fit into an image; shorten it")
    return text[:at], text[at + 1 :]
