"""Messages of gRPC in the DATA frames of a stream: a flag, a length, so many bytes.

A message is received into memory of its own, without a copy; what has been promised and not sent takes none.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

__all__ = ["Messages", "TooLargeError", "UnreadableError", "expanded", "prefix"]

_PREFIX = 5
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


class TooLargeError(Exception):
    """A message is larger than the service takes."""


class UnreadableError(Exception):
    """What was sent is no message."""


class Messages:
    """Of one stream, as they come. One thread fills it, while another may drop it.

    Parameters:
        limit: bytes of the largest message.

    Attributes:
        held: bytes of the message that is being received.
    """

    __slots__ = ("_compressed", "_got", "_limit", "_prefix", "_view")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prefix = bytearray()
        self._compressed = False
        self._view: memoryview | None = None
        self._got = 0

    @property
    def held(self) -> int:
        return 0 if self._view is None else self._got

    @property
    def begun(self) -> bool:
        """Whether a part of a message is there."""
        return self._view is not None or bool(self._prefix)

    def room(self, size: int) -> memoryview:
        """Where the next bytes of the stream belong, ``size`` at the most and at least one; tell `add` how many
        came.

        Raises:
            TooLargeError, UnreadableError: of the message that begins.
        """
        view = self._view
        if view is None:
            return memoryview(bytearray(min(size, _PREFIX - len(self._prefix))))
        return view[self._got : self._got + size]

    def add(self, filled: memoryview) -> None:
        """These bytes came.

        Raises:
            TooLargeError, UnreadableError: the message that begins with them is not taken.
        """
        if self._view is not None:
            self._got += len(filled)
            return
        if len(filled) > _PREFIX - len(self._prefix):
            return  # of a message that was dropped meanwhile
        self._prefix += filled
        if len(self._prefix) < _PREFIX:
            return
        flag, length = self._prefix[0], int.from_bytes(self._prefix[1:], "big")
        if flag > 1:
            raise UnreadableError(f"a message begins with {flag}, which is no flag of gRPC")
        if length > self._limit:
            raise TooLargeError(f"Received message larger than max ({length} vs. {self._limit})")
        self._compressed = flag == 1
        self._view = np.empty(length, np.uint8).data.cast("B")  # not touched before it is filled
        self._got = 0
        self._prefix.clear()

    def drop(self) -> None:
        """Let go of what was received; nobody wants it any more."""
        self._view = None
        self._prefix.clear()

    def complete(self) -> Iterator[tuple[memoryview, bool]]:
        """The message that is complete by now, if one is, and whether it is compressed."""
        view = self._view
        if view is not None and self._got == len(view):
            self._view = None
            yield view, self._compressed


def expanded(data: memoryview, encoding: str, limit: int) -> memoryview:
    """What was compressed.

    Raises:
        TooLargeError: it is larger than ``limit``.
        UnreadableError: it is damaged, or compressed in another way.
    """
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise UnreadableError(f"messages compressed by {encoding[:40]!r} are not read; use gzip or deflate")
    decompressor = zlib.decompressobj(bits)
    try:
        result = decompressor.decompress(data, limit + 1)
    except zlib.error:
        raise UnreadableError(f"a message is not what {encoding} makes") from None
    if len(result) > limit:
        raise TooLargeError(f"Received message larger than max ({len(result)} vs. {limit})")
    if not decompressor.eof:
        raise UnreadableError(f"a message is not what {encoding} makes")
    return memoryview(result)


def prefix(data: bytes | memoryview) -> bytes:
    """What is sent before a message."""
    return b"\x00" + len(data).to_bytes(4, "big")
