"""A log file of bounded size, and reading it while it is written."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["BoundedLog", "follow", "last_lines"]

LIMIT = 10_000_000
_POLL_SECONDS = 0.1


class BoundedLog:
    """Appends to ``path``; at ``limit`` bytes the file becomes ``path.1``, in place of the one before.

    A full disk loses lines of the log, never the process that writes: errors of writing are dropped.
    """

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._file: BinaryIO | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
                self._size = self._file.tell()
            elif self._size + len(data) > self._limit:
                self.close()
                self._path.replace(_older(self._path))
                self._file = self._path.open("ab", buffering=0)
                self._size = 0
            self._file.write(data)
            self._size += len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def last_lines(path: Path, lines: int) -> list[str]:
    """The last ``lines`` lines, from the older file too if need be."""
    content = b"".join(_content(file) for file in (_older(path), path))
    return [_text(line) for line in deque(content.splitlines(), maxlen=lines)]


def follow(path: Path, lines: int) -> Iterator[str]:
    """The last ``lines`` lines and then each new one, until the folder of the file is gone."""
    older = _content(_older(path))
    rest = b""
    for number, content in enumerate(_growing(path)):
        before = older if number == 0 else b""
        *complete, rest = (before + rest + content).split(b"\n")
        yield from map(_text, deque(complete, maxlen=lines) if number == 0 else complete)


def _growing(path: Path) -> Iterator[bytes]:
    """What is in the file, and then what is appended to it and to those that take its place."""
    while path.parent.exists():
        try:
            file = path.open("rb")
        except FileNotFoundError:  # the moment between two files
            time.sleep(_POLL_SECONDS)
            continue
        with file:
            yield file.read()
            while not _is_replaced(file, path):
                time.sleep(_POLL_SECONDS)
                yield file.read()
            yield file.read()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _is_replaced(file: BinaryIO, path: Path) -> bool:
    try:
        return os.fstat(file.fileno()).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return True


def _text(line: bytes) -> str:
    return line.decode(errors="replace")
