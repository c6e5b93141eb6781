"""A log file of bounded size, and reading it while it is written."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["BoundedLog", "content", "follow", "last_lines"]

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
    whole = b"".join(content(file) for file in (_older(path), path))
    return [_text(line) for line in deque(whole.splitlines(), maxlen=lines)]


def follow(path: Path, lines: int, has_ended: Callable[[], bool] = lambda: False) -> Iterator[str]:
    """The last ``lines`` lines and then each new one, until nobody writes any more or the folder is gone."""
    older = content(_older(path))
    rest = b""
    for number, added in enumerate(_growing(path, has_ended)):
        before = older if number == 0 else b""
        *complete, rest = (before + rest + added).split(b"\n")
        yield from map(_text, deque(complete, maxlen=lines) if number == 0 else complete)
    if rest and has_ended():
        yield _text(rest)


def _growing(path: Path, has_ended: Callable[[], bool]) -> Iterator[bytes]:
    """What is in the file, and then what is appended to it and to those that take its place."""
    ended = False
    while path.parent.exists() and not ended:
        try:
            file = path.open("rb")
        except FileNotFoundError:  # the moment between two files
            ended = has_ended()
            time.sleep(_POLL_SECONDS)
            continue
        with file:
            yield file.read()
            while not ended and not _is_replaced(file, path):
                time.sleep(_POLL_SECONDS)
                ended = has_ended()  # and then what was written before
                yield file.read()
            yield file.read()


def content(path: Path) -> bytes:
    """What is in the file; nothing when it is not there."""
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
