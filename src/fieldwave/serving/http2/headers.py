"""Header blocks (HPACK, RFC 7541): what a call says of itself, and what is said of its answer.

Reading is left to the library ``hpack``, but for blocks that name nothing but what the connection knows already:
those are all the calls of a client but its first few, and are read once. Writing uses no table, so that a block is
the same bytes for every connection.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import hpack

from fieldwave.serving.http2.frames import Code, ConnectionError_

__all__ = ["ANSWER", "Head", "HeadReader", "MalformedError", "trailers"]

LARGEST_LIST = 32 << 10
"""Bytes of all names and values, as RFC 9113 counts them in 6.5.2."""

logging.getLogger("hpack").setLevel(logging.WARNING)  # or a log that tells all would tell keys

_RESERVED = frozenset(
    {"te", "content-type", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout", "user-agent"}
)
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_KNOWN = 64
_INDEXED, _LONG = 0x80, 0xFF


class MalformedError(Exception):
    """The headers are not those of a gRPC call; the stream ends."""


@dataclass(frozen=True)
class Head:
    """What a call says of itself.

    Attributes:
        path: ``/package.Service/Method``.
        encoding: of its messages, where their flag says that they are compressed.
        seconds: until its caller gives up; None for never.
        metadata: names and values beside those that gRPC itself uses; of names on ``-bin`` the values are bytes.
    """

    path: str
    encoding: str
    seconds: float | None
    metadata: tuple[tuple[str, str | bytes], ...]


class HeadReader:
    """Reads the header blocks of one connection, in their order."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=LARGEST_LIST)
        self._known: dict[bytes, Head] = {}

    def call(self, block: bytes) -> Head:
        """The head of a call.

        Raises:
            MalformedError: it is none of gRPC; the connection goes on.
            ConnectionError_: the block cannot be read, and so no other after it.
        """
        head = self._known.get(block)
        if head is None:
            indexed = all(_INDEXED < each < _LONG for each in block)
            if not indexed:
                self._known.clear()  # what it adds to the table moves all that is there
            head = _head(self._decode(block))
            if indexed and len(self._known) < _MOST_KNOWN:
                self._known[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """A block that says nothing that matters, such as a trailer, but may change the table."""
        self._known.clear()
        self._decode(block)

    def _decode(self, block: bytes) -> Sequence[tuple[str, str]]:
        try:
            return [(str(each[0]), str(each[1])) for each in self._decoder.decode(block, raw=False)]
        except (hpack.HPACKError, UnicodeDecodeError) as error:
            raise ConnectionError_(Code.COMPRESSION_ERROR, f"header block: {error}") from None


def _head(fields: Iterable[tuple[str, str]]) -> Head:
    pseudo: dict[str, str] = {}
    metadata: list[tuple[str, str | bytes]] = []
    known: dict[str, str] = {}
    for name, value in fields:
        if name.startswith(":"):
            if metadata or known or name in pseudo:
                raise MalformedError
            pseudo[name] = value
        elif name != name.lower() or name in ("connection", "transfer-encoding", "upgrade"):
            raise MalformedError
        elif name in _RESERVED:
            known[name] = value
            if name == "user-agent":
                metadata.append((name, value))
        else:
            metadata.append((name, _binary(value) if name.endswith("-bin") else value))
    if pseudo.get(":method") != "POST" or not known.get("content-type", "").startswith("application/grpc"):
        raise MalformedError
    return Head(
        pseudo.get(":path", ""),
        known.get("grpc-encoding", "identity"),
        _seconds(known.get("grpc-timeout")),
        tuple(metadata),
    )


def _binary(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError from None


def _seconds(timeout: str | None) -> float | None:
    if timeout is None:
        return None
    digits, unit = timeout[:-1], timeout[-1:]
    if unit not in _UNITS or not digits.isascii() or not digits.isdigit() or len(digits) > 8:
        raise MalformedError
    return int(digits) * _UNITS[unit]


def _literal(name: bytes, value: bytes) -> bytes:
    """A field that enters no table, section 6.2.2, without Huffman's code."""
    return b"\x00" + _integer(len(name)) + name + _integer(len(value)) + value


def _integer(value: int) -> bytes:
    """With a prefix of seven bits, section 5.1."""
    if value < 127:
        return bytes((value,))
    value -= 127
    rest = []
    while value >= 128:
        rest.append(128 | value & 127)
        value >>= 7
    return bytes((127, *rest, value))


_STATUS_200 = b"\x88"  # entry 8 of the static table
ANSWER = _STATUS_200 + _literal(b"content-type", b"application/grpc")
_OK = _literal(b"grpc-status", b"0")


def trailers(
    code: grpc.StatusCode, text: str = "", metadata: Sequence[tuple[str, Any]] = (), *, alone: bool = False
) -> bytes:
    """The block that ends a call; ``alone``: nothing was sent before it."""
    if code is grpc.StatusCode.OK and not metadata and not alone:
        return _OK
    block = (ANSWER if alone else b"") + _literal(b"grpc-status", str(code.value[0]).encode())
    if text:
        # Percent-encoded but for printable ASCII, as the protocol of gRPC says.
        shown = quote(text, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")
        block += _literal(b"grpc-message", shown.encode())
    for name, value in metadata:
        if name.endswith("-bin"):
            value = base64.b64encode(value).rstrip(b"=")
        block += _literal(name.encode(), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
    return block


def deadline(head: Head) -> float | None:
    """By `time.monotonic`."""
    return None if head.seconds is None else time.monotonic() + head.seconds
