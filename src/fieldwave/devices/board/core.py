"""Programs on a board: in its memory, started, waited for, and begun anew when anything was in doubt."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.boards import addresses
from fieldwave.compiler import NpuSection
from fieldwave.compiler.tensors import MemoryTensor
from fieldwave.devices.board.identity import Identity, check_magic, identify
from fieldwave.devices.board.leveling import level_reads, wait_for_memory
from fieldwave.devices.board.link import Doubt, Link
from fieldwave.devices.board.transport import LinkFault
from fieldwave.devices.npu import DONE, KEEP, START, describe_error
from fieldwave.errors import DeviceError
from fieldwave.npu.isa import Register

__all__ = ["BoardCore"]

ATTEMPTS = 3
PAGE = 4096
PATTERN_WORDS = 128
BUSY, ENDED = 0b1001, 0b0110
"""Bits of register STATUS: busy or resetting, done or error."""
_COUNTERS = tuple(register for register in Register if register >= Register.CYCLES)
_PAUSE_SECONDS = 0.0002


@dataclass(eq=False)
class _Place:
    """A program's memory on the board: which array of the host's, where, and whether it is all there."""

    array: weakref.ref[NDArray[np.uint8]]
    address: int
    size: int
    loaded: bool = False


class BoardCore:
    """Executes program images on a board.

    Args:
        link: the way to it.
        watchdog: seconds after which a run is given up.

    Attributes:
        identity: who it is, by its own account.
        counters: of the last program, by name.
        beats: words that have been read from the memory and written to it, of all programs.
        recoveries: how often everything was begun anew since `open`.

    Raises:
        DeviceError: no NPU answers.
    """

    def __init__(self, link: Link, *, watchdog: float) -> None:
        self._link = link
        self._watchdog = watchdog
        self._places: list[_Place] = []
        self._program: int | None = None
        self._last: _Place | None = None
        self._sound = True
        self.counters: dict[str, int] | None = None
        self.beats = (0, 0)
        self.recoveries = 0
        self.identity = self._restart(None)

    def execute(self, memory: NDArray[np.uint8], section: NpuSection | None = None) -> int:
        """Run one program; see `Core.execute`.

        Whatever was in doubt is done again from the reset of the board on; after an error the board works again.
        """
        doubt: Doubt | None = None
        for attempt in range(ATTEMPTS):
            self.recoveries += bool(attempt)
            if not self._sound:
                self.identity = self._restart(self.identity)
            self._sound = False
            try:
                cycles = self._execute(memory, section)
            except Doubt as error:
                doubt = error
            else:
                self._sound = True
                return cycles
        raise DeviceError(
            f"the board at {self._link.transport.name} was disturbed in {ATTEMPTS} runs in a row: {doubt}"
        ) from doubt

    def close(self) -> None:
        """Let go of the way to it."""
        self._link.transport.close()

    def _execute(self, memory: NDArray[np.uint8], section: NpuSection | None) -> int:
        link = self._link
        place = self._placed(memory)
        if not place.loaded:
            self._put(place, memory, [(0, len(section.image) if section else len(memory))])
            place.loaded = True
        if section is not None:
            self._put(place, memory, _extents(section.inputs))
        if self._program != place.address:  # writing it makes the NPU forget the weights that it still holds
            link.write(addresses.NPU + Register.PROGRAM_LOW, np.array([place.address, 0], np.uint32))
            self._program = place.address
        again, self._last = self._last is place, None
        link.poke(addresses.NPU + Register.CONTROL, START | KEEP if again else START)
        try:
            self._wait()
        except DeviceError:
            place.loaded = False
            raise
        wanted = [(0, len(memory))] if section is None else _extents(section.outputs)
        results = [link.read(place.address + start, (stop - start) // 4) for start, stop in wanted]
        values = link.read(addresses.NPU + Register.CYCLES, len(_COUNTERS))
        link.check()  # before anything is believed
        for (start, stop), words in zip(wanted, results, strict=True):
            memory[start:stop] = words.view(np.uint8)
        self.counters = {register.name.lower(): int(v) for register, v in zip(_COUNTERS, values, strict=True)}
        read, written = self.beats
        self.beats = read + self.counters["read_beats"], written + self.counters["write_beats"]
        self._last = place
        return self.counters["cycles"]

    def _wait(self) -> None:
        """Until the program has ended.

        Raises:
            DeviceError: it stopped with an error, or not at all; the NPU is reset.
        """
        link, deadline, pause = self._link, time.monotonic() + self._watchdog, _PAUSE_SECONDS
        while (status := link.peek(addresses.NPU + Register.STATUS)) & BUSY or not status & ENDED:
            if time.monotonic() > deadline:
                link.check()
                self._restart(self.identity)
                raise DeviceError(
                    f"the NPU at {link.transport.name} did not finish within {self._watchdog:g} s and was reset; "
                    "is its memory answering?"
                )
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        link.check()
        if not status & DONE:
            error, address = (int(word) for word in link.read(addresses.NPU + Register.ERROR, 2))
            link.check()
            self._restart(self.identity)
            raise DeviceError(describe_error(error, address))

    def _restart(self, before: Identity | None) -> Identity:
        """Reset the board, see that it is the one it was, and forget what its memory held.

        Raises:
            DeviceError: it does not answer, or is another one.
        """
        for place in self._places:
            place.loaded = False
        self._program = self._last = None
        link = self._link
        for attempt in range(ATTEMPTS):
            try:
                link.transport.resynchronise()
                link.transport.write(addresses.RESET, np.array([1], np.uint32))
                link.transport.resynchronise()
                if link.begin() != 0:
                    raise LinkFault(f"the board at {link.transport.name} was not reset; check the cable")
                identity = identify(link)
                wait_for_memory(link)
                level_reads(link)
                self._try_memory(identity)
                link.check()
                break
            except (Doubt, LinkFault) as error:
                if attempt == ATTEMPTS - 1:
                    if before is None:
                        check_magic(link.transport)
                    raise error
        if before is not None and before != identity:
            raise DeviceError(
                f"the board at {link.transport.name} was {before.board} with fingerprint "
                f"{before.fingerprint:016x} and is now {identity.board} with {identity.fingerprint:016x}; "
                "open the device again"
            )
        return identity

    def _try_memory(self, identity: Identity) -> None:
        """See that memory keeps what is written: the bridge's witness says only what was sent there.

        Raises:
            DeviceError: it does not.
        """
        pattern = np.random.default_rng(0).integers(0, 1 << 32, PATTERN_WORDS, np.uint32)
        for offset in (0, identity.memory_bytes - 4 * PATTERN_WORDS):
            self._link.write(addresses.MEMORY + offset, pattern)
            pattern = np.roll(pattern, 1)
            self._link.write(addresses.MEMORY + offset, pattern)
            wrong = int((self._link.read(addresses.MEMORY + offset, PATTERN_WORDS) != pattern).sum())
            if wrong:
                raise DeviceError(
                    f"the memory of the board at {self._link.transport.name} does not keep what is written "
                    f"({wrong} of {PATTERN_WORDS} words at {addresses.MEMORY + offset:#x} were wrong): "
                    "switch the board off and on; if that does not help, its memory is broken"
                )

    def _placed(self, memory: NDArray[np.uint8]) -> _Place:
        """Where this array is on the board; a place is made for it where it has none."""
        self._places = [place for place in self._places if place.array() is not None]
        for place in self._places:
            if place.array() is memory:
                self._places.remove(place)
                self._places.append(place)  # the last is the one used last
                return place
        size = -(-len(memory) // PAGE) * PAGE
        if size > self.identity.memory_bytes:
            raise DeviceError(
                f"the network needs {len(memory)} bytes of memory, the board at {self._link.transport.name} "
                f"({self.identity.board}) has {self.identity.memory_bytes}"
            )
        while (address := self._gap(size)) is None:
            self._places.pop(0)
        place = _Place(weakref.ref(memory), address, size)
        self._places.append(place)
        return place

    def _gap(self, size: int) -> int | None:
        start, end = addresses.MEMORY, addresses.MEMORY + self.identity.memory_bytes
        for place in sorted(self._places, key=lambda place: place.address):
            if place.address - start >= size:
                return start
            start = place.address + place.size
        return start if end - start >= size else None

    def _put(self, place: _Place, memory: NDArray[np.uint8], extents: list[tuple[int, int]]) -> None:
        for start, stop in extents:
            words = np.zeros(-(-(stop - start) // 4), np.uint32)
            words.view(np.uint8)[: stop - start] = memory[start:stop]
            self._link.write(place.address + start, words)


def _extents(tensors: Iterable[MemoryTensor]) -> list[tuple[int, int]]:
    """First byte and the one behind the last of each tensor, whole words."""
    return [(t.offset, t.offset + -(-t.size // 4) * 4) for t in tensors]
