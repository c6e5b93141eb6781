"""Header blocks (RFC 7541), most of which are the same as the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hpack import Decoder

from fieldwave.serving.direct import frames

__all__ = ["MOST_BYTES", "HeaderReader", "Headers", "without_padding"]

MOST_BYTES = 32 << 10
_MOST_KNOWN = 32
_KNOWN_BYTES = 1024


class Headers(NamedTuple):
    """What a client says of a call.

    Attributes:
        metadata: of a name that comes twice, the last.
        keys: every value of ``authorization``.
    """

    metadata: Mapping[str, str]
    keys: tuple[str, ...]


class HeaderReader:
    """Reads the header blocks of one connection, in their order.

    A client repeats itself: once its names and values are in the table, its next block is a few bytes of indices,
    the same for each call, and means the same as long as the table does.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MOST_BYTES)
        self._known: dict[bytes, Headers] = {}

    def read(self, block: bytes) -> Headers:
        """The headers of a block.

        Raises:
            hpack.HPACKError: it is none, or too long.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        table = self._decoder.header_table.dynamic_entries
        before = (len(table), table[0] if table else None)
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._decoder.decode(block, raw=True)
        ]
        headers = Headers(dict(pairs), tuple(value for name, value in pairs if name == "authorization"))
        if len(table) != before[0] or (table and table[0] is not before[1]):
            self._known.clear()
        elif len(self._known) < _MOST_KNOWN and len(block) <= _KNOWN_BYTES:
            self._known[block] = headers
        return headers


def without_padding(block: bytes, flags: int) -> bytes:
    """The block of a HEADERS frame, without its padding and its priority."""
    if flags & frames.PADDED:
        block = block[1 : len(block) - block[0]] if block and block[0] < len(block) else b""
    return block[5:] if flags & frames.PRIORITY_FLAG else block
