"""Etherbone: the bus over UDP, in the protocol of CERN's Etherbone as LiteEth speaks it.

A datagram is a packet header (magic 0x4e6f, version 1, sizes of address and data: 4 bytes) and one record: numbers
of writes and reads, then an address and the words to write there, or an address to answer to and the addresses to
read. All numbers have their highest byte first. The board answers reads with a record of writes whose address is
the one that was given: here a number that is never used twice, so that a late answer is known for what it is.

Writes are not answered, and a read in the same record is not understood (LiteEth 2024.12 takes the address to
answer to for the first one to read). So whoever writes reads the witness afterwards, in a datagram of its own.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import numpy as np

from fieldwave.boards.addresses import WITNESS
from fieldwave.devices.board.transport import LinkFault, Words
from fieldwave.errors import DeviceError, DeviceLostError

__all__ = ["PORT", "EtherboneTransport", "answer_of", "reads", "writes"]

PORT = 1234
_BURST = 200
"""Of a datagram: within an Ethernet frame, and within the board's buffer of 255 words."""
_PACKET = struct.Struct(">HBBI")
_RECORD = struct.Struct(">BBBB")
_MAGIC, _VERSION, _SIZES = 0x4E6F, 1 << 4, 4 << 4 | 4
_FIRST_SECONDS, _ANSWER_SECONDS = 0.004, 0.25
_SILENCE = 8
"""Answers in a row that may fail to come before the board is taken for gone."""


class EtherboneTransport:
    """A board that hangs on a network.

    Args:
        host, port: where it answers.
        patience: seconds to wait for an answer.

    Raises:
        DeviceError: the name of the host cannot be resolved, or there is no way to it.
    """

    burst = chunk = _BURST

    def __init__(self, host: str, port: int = PORT, *, patience: float = _ANSWER_SECONDS) -> None:
        self.name = f"udp:{host}:{port}"
        self._patience = patience
        self._number = int.from_bytes(np.random.default_rng().bytes(2), "little") << 12
        self._silences = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            # LiteEth answers to its own port's number, from which therefore the host has to ask.
            with contextlib.suppress(OSError):
                self._socket.bind(("", port))
            self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            raise DeviceError(f"no way to {self.name}: {error.strerror or error}; check the address") from error

    def read(self, address: int, count: int) -> Words:
        """See `Transport.read`."""
        if (address, count) == (WITNESS, 1):
            return self._witness()
        parts = []
        for start in range(0, count, _BURST):
            most = min(count, start + _BURST)
            parts.append(self._ask([address + 4 * index for index in range(start, most)], self._patience))
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def write(self, address: int, words: Words) -> None:
        """See `Transport.write`."""
        for start in range(0, len(words), _BURST):
            self._send(writes(address + 4 * start, words[start : start + _BURST]))

    def _witness(self) -> Words:
        """Asked again soon, which changes nothing: a board that is still writing may not have had room for it."""
        wait = _FIRST_SECONDS
        while wait < self._patience:
            try:
                return self._ask([WITNESS], wait)
            except LinkFault:
                wait *= 2
        return self._ask([WITNESS], self._patience)

    def resynchronise(self) -> None:
        """See `Transport.resynchronise`: late answers are forgotten by their numbers."""
        time.sleep(self._patience)

    def close(self) -> None:
        """See `Transport.close`."""
        self._socket.close()

    def _ask(self, addresses: list[int], seconds: float) -> Words:
        self._number = (self._number + 1) & 0x3FFFFFFF
        number = self._number << 2
        self._send(reads(number, addresses))
        deadline = time.monotonic() + seconds
        with self._connected(), contextlib.suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                found = answer_of(self._socket.recv(8192), number)
                if found is not None and len(found) == len(addresses):
                    self._silences = 0
                    return found
        self._silences += seconds >= self._patience
        if self._silences >= _SILENCE:
            raise DeviceLostError(
                f"{self.name} has not answered {self._silences} times in a row; check its power and the cable"
            )
        raise LinkFault(f"{self.name} did not answer within {seconds:g} s; check its power and the cable")

    def _send(self, datagram: bytes) -> None:
        with self._connected():
            self._socket.send(datagram)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise
        except ConnectionRefusedError as error:
            raise DeviceLostError(
                f"nobody listens at {self.name}; is the board on, and is this its address?"
            ) from error
        except OSError as error:
            raise DeviceLostError(
                f"the way to {self.name} is gone: {error.strerror or error}; check the cable and open it again"
            ) from error


def reads(number: int, addresses: list[int]) -> bytes:
    """A datagram that reads ``addresses``; ``number`` comes back."""
    return _head(0, len(addresses)) + struct.pack(f">I{len(addresses)}I", number, *addresses)


def writes(address: int, words: Words) -> bytes:
    """A datagram that writes consecutive words."""
    return _head(len(words), 0) + struct.pack(">I", address) + words.astype(">u4").tobytes()


def _head(writes: int, reads: int) -> bytes:
    return _PACKET.pack(_MAGIC, _VERSION, _SIZES, 0) + _RECORD.pack(0, 0xF, writes, reads)


def answer_of(datagram: bytes, number: int) -> Words | None:
    """The words of an answer to ``number``; None if it is another's, or no answer at all."""
    start = _PACKET.size + _RECORD.size
    if len(datagram) < start + 4 or datagram[:2] != _MAGIC.to_bytes(2, "big"):
        return None
    _, _, writes, _ = _RECORD.unpack_from(datagram, _PACKET.size)
    (said,) = struct.unpack_from(">I", datagram, start)
    if said != number or len(datagram) < start + 4 + 4 * writes:
        return None
    return np.frombuffer(datagram, ">u4", writes, start + 4).astype(np.uint32)
