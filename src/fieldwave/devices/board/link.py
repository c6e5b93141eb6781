"""Words that have certainly been written and read, over a transport that may lose and garble them.

The board sums up what its bridge has done (`fieldwave.boards.witness`); here the host sums up what it meant.
Where the two agree, all is well. Where they do not, the witness tells how far the board got, and the rest is
done again. Where it tells nothing that could have been meant, anything may have been written anywhere: `Doubt`,
and whoever holds data on the board has to begin anew.
"""

from __future__ import annotations

import zlib

import numpy as np

from fieldwave.boards.addresses import WITNESS
from fieldwave.devices.board.transport import LinkFault, Transport, Words
from fieldwave.errors import DeviceError

__all__ = ["Doubt", "Link", "witnessed"]

ATTEMPTS = 5


class Doubt(DeviceError):
    """What the board's bridge has done is not what was meant; nothing on the board can be relied on."""


def witnessed(before: int, address: int, words: Words, *, write: bool) -> int:
    """What the witness says after these transactions if it said ``before`` before them."""
    records = np.zeros(len(words), np.dtype([("word", "<u4"), ("data", "<u4"), ("write", "u1")]))
    records["word"] = address // 4 + np.arange(len(words))
    records["data"] = words
    records["write"] = write
    return zlib.crc32(records.tobytes(), before)


class Link:
    """A transport, checked.

    Args:
        transport: the way to the board.

    Attributes:
        faults: answers that were late, lost or garbled since the beginning.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.faults = 0
        self._sum = 0

    def begin(self) -> int:
        """Take the board's word for what has been done so far: 0 after a reset.

        Raises:
            DeviceError: the board does not answer.
        """
        self._sum = self._look()
        return self._sum

    def write(self, address: int, words: Words) -> None:
        """Write consecutive words, and know that they are written.

        Raises:
            Doubt: something else has been written, or something elsewhere.
            DeviceError: the board does not answer; DeviceLostError: it is gone.
        """
        chunk = self.transport.chunk
        for start in range(0, len(words), chunk):
            self._write(address + 4 * start, words[start : start + chunk])

    def read(self, address: int, count: int) -> Words:
        """Consecutive words, as they are on the board's bus.

        Raises: as `write`.
        """
        chunk = self.transport.chunk
        parts = [self._read(address + 4 * start, min(chunk, count - start)) for start in range(0, count, chunk)]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def peek(self, address: int) -> int:
        """A word that changes by itself, or that may still be wrong: only `check` tells."""
        try:
            words = self.transport.read(address, 1)
        except LinkFault as error:
            raise self._doubt() from error
        self._sum = witnessed(self._sum, address, words, write=False)
        return int(words[0])

    def poke(self, address: int, value: int) -> None:
        """Write a word once, never again; only `check` tells whether it has arrived."""
        words = np.array([value], np.uint32)
        try:
            self.transport.write(address, words)
        except LinkFault as error:
            raise self._doubt() from error
        self._sum = witnessed(self._sum, address, words, write=True)

    def check(self) -> None:
        """All that was peeked and poked so far is true.

        Raises:
            Doubt: it is not.
        """
        if self._look() != self._sum:
            raise self._doubt()

    def _write(self, address: int, words: Words) -> None:
        done = 0
        for _ in range(ATTEMPTS):
            rest, at = words[done:], address + 4 * done
            meant = witnessed(self._sum, at, rest, write=True)
            try:
                self.transport.write(at, rest)
                found = self._look_once()
            except LinkFault:
                found = self._resynchronised()
            if found != meant:
                found = self._resynchronised()
            done += self._explained(found, at, rest, write=True)
            self._sum = found
            if found == meant:
                return
        raise self._gave_up("writing")

    def _read(self, address: int, count: int) -> Words:
        for _ in range(ATTEMPTS):
            before, words = self._sum, None
            try:
                words = self.transport.read(address, count)
                found = self._look_once()
            except LinkFault:
                found = self._resynchronised()
            if words is not None and found == witnessed(before, address, words, write=False):
                self._sum = found
                return words
            # The answer was lost or garbled: ask again, and see whether what comes now explains the witness.
            found = self._resynchronised()
            if found == before:
                continue
            try:
                words = self.transport.read(address, count)
                after = self._look_once()
            except LinkFault as error:
                raise self._doubt() from error
            if after != witnessed(found, address, words, write=False):
                raise self._doubt()
            self._explained(found, address, words, write=False)
            self._sum = after
            return words
        raise self._gave_up("reading")

    def _explained(self, found: int, address: int, words: Words, *, write: bool) -> int:
        """How many of these transactions, in whole commands, explain what the witness says."""
        value, burst = self._sum, self.transport.burst
        for done in range(0, len(words), burst):
            if value == found:
                return done
            value = witnessed(value, address + 4 * done, words[done : done + burst], write=write)
        if value == found:
            return len(words)
        raise self._doubt()

    def _look_once(self) -> int:
        return int(self.transport.read(WITNESS, 1)[0])

    def _look(self) -> int:
        try:
            return self._look_once()
        except LinkFault:
            return self._resynchronised()

    def _resynchronised(self) -> int:
        """What the witness says after something was late; two answers in a row have to be the same."""
        fault: LinkFault | None = None
        for _ in range(ATTEMPTS):
            self.faults += 1
            try:
                self.transport.resynchronise()
                found = self._look_once()
                if found == self._look_once():
                    return found
            except LinkFault as error:
                fault = error
        raise fault or self._gave_up("reading the witness")

    def _doubt(self) -> Doubt:
        self.faults += 1
        return Doubt(
            f"what the bridge of the board at {self.transport.name} did is not what was meant; "
            "load the package again, and check the cable"
        )

    def _gave_up(self, doing: str) -> LinkFault:
        return LinkFault(f"{doing} at {self.transport.name} failed {ATTEMPTS} times; check the cable")
