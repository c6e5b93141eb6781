"""gzip without a compressor: members of blocks that are stored, or that somebody else compressed.

What zlib makes of some bytes depends on its version. So no layer of ours is compressed here: our own bytes are
in stored blocks (RFC 1951, 3.2.4), and a wheel's files keep the deflate stream that they have in the wheel. A
gzip file is any number of members, one after another (RFC 1952, 2.2), and all that pull images read them so.
"""

from __future__ import annotations

import struct
import zlib

__all__ = ["around", "stored"]

# Magic, method deflate, no flags, no time, no extra flags, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LONGEST = 65_535
"""The most bytes that one stored block has."""


def stored(data: bytes) -> bytes:
    """A member that holds ``data`` as it is."""
    blocks = []
    for start in range(0, max(len(data), 1), _LONGEST):
        piece = data[start : start + _LONGEST]
        last = start + _LONGEST >= len(data)
        blocks.append(struct.pack("<BHH", last, len(piece), len(piece) ^ 0xFFFF) + piece)
    return around(b"".join(blocks), zlib.crc32(data), len(data))


def around(deflated: bytes, crc: int, size: int) -> bytes:
    """A member around a deflate stream, whose content has this CRC-32 and size in bytes."""
    return _HEADER + deflated + struct.pack("<II", crc, size & 0xFFFFFFFF)
