"""Read leveling: the delays at which the data of DDR3 memory are read, found from the host.

When a chip's data come back depends on the board. LiteDRAM's PHY has, for every byte lane, a delay of the strobe's
window and a slip of whole bits. What LiteDRAM's own start-up software does on a processor is done here through the
same registers (`fieldwave.boards.addresses`): with the controller put aside, write a pattern, read it back at
every setting, and take the middle of the widest window of delays. All lanes are tried at once.

Between two commands lies the way from the host, some 0.1 ms, longer than a chip wants a row open (tRAS), and
nothing is refreshed meanwhile: the pattern is written anew for every read, and nothing else in memory is needed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldwave.boards import addresses
from fieldwave.devices.board.link import Link
from fieldwave.devices.board.transport import Words
from fieldwave.errors import DeviceError

__all__ = ["Phy", "Window", "level_reads", "wait_for_memory", "widest"]

START_SECONDS = 5.0
"""A chip's start-up takes some milliseconds."""
ATTEMPTS = 8
"""How often what was found is set and tried, as LiteDRAM does: a strobe may be caught a turn late."""
NEIGHBOURS = 2
"""Delays of the narrowest window: one alone may be an edge that works by chance."""
SEEDS = (42, 84, 36)
LANES = 2
"""Byte lanes of the memories that have been thought of here: two words of data in each phase."""

_HARDWARE, _SOFTWARE = 0b0001, 0b1110
"""Control: the controller's turn, or the host's, with clock enable, termination and no reset."""
_CS, _WE, _CAS, _RAS, _WRITE_DATA, _READ_DATA = (1 << bit for bit in range(6))
_ACTIVATE, _PRECHARGE = _CS | _RAS, _CS | _RAS | _WE
_WRITE, _READ = _CS | _CAS | _WE | _WRITE_DATA, _CS | _CAS | _READ_DATA
_COMMAND, _ADDRESS, _WRITTEN, _READ_BACK = 0, 2, 4, 6
"""Words from a phase's first: command and issue, address and bank, data."""
_SELECT, _DELAY_RESET, _DELAY_UP, _SLIP_RESET, _SLIP_UP, _STROBE_CLEAR, _STROBE_SEEN = range(7)


@dataclass(frozen=True)
class Phy:
    """A memory's PHY, as the board describes it.

    Attributes:
        lanes: bytes of its data pins.
        phases: of a command, in one cycle of the system; each carries four transfers of the pins.
        read_phase, write_phase: in which such a command is sent.
        delays, slips: settings of a lane.
    """

    lanes: int
    phases: int
    read_phase: int
    write_phase: int
    delays: int
    slips: int

    @classmethod
    def from_word(cls, word: int) -> Phy:
        """Of what register `addresses.LEVELING` says, see `fieldwave.boards.soc.leveling`."""
        phases = word >> 8
        return cls(
            word & 0xFF, (phases & 3) + 1, phases >> 2 & 3, phases >> 4 & 3, word >> 16 & 0xFF, word >> 24 & 0xFF
        )


@dataclass(frozen=True)
class Window:
    """Where a lane's data are read right.

    Attributes:
        slip: of whole bits.
        first, last: delays.
    """

    slip: int
    first: int
    last: int

    @property
    def delay(self) -> int:
        return (self.first + self.last) // 2


def wait_for_memory(link: Link) -> None:
    """Until the memory chip has been started up: what is written earlier is lost.

    Raises:
        DeviceError: it takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while link.peek(addresses.STARTING):
        if time.monotonic() > deadline:
            raise DeviceError(
                f"the board at {link.transport.name} does not end the start-up of its memory; "
                "switch it off and on, and build its bitstream again"
            )
    link.check()


def level_reads(link: Link) -> list[Window]:
    """Find and set the delays of a memory's reads, lane by lane; nothing where the board has none to set.

    Raises:
        DeviceError: a lane is read right at no setting, or not any more at that which was found.
    """
    word = int(link.read(addresses.LEVELING, 1)[0])
    if not word:
        return []
    phy = Phy.from_word(word)
    if phy.lanes != LANES or not phy.delays or not phy.slips:
        raise DeviceError(
            f"the board at {link.transport.name} describes its memory as {word:#010x}, which this driver does not "
            "know; build its bitstream again with this version"
        )
    _put(link, addresses.DFI, _SOFTWARE)
    for phase in range(phy.phases):
        _put(link, _phase(phase) + 4 * _ADDRESS, 0, 0)
    found = [widest(right) for right in _scan(link, phy)]
    for lane, window in enumerate(found):
        if window is None:
            raise DeviceError(
                f"byte lane {lane} of the memory of the board at {link.transport.name} is read right at no "
                f"{NEIGHBOURS} neighbouring delays of {phy.delays}, with none of {phy.slips} bit slips: switch "
                "the board off and on; if that does not help, its memory is broken"
            )
    windows = [window for window in found if window is not None]
    for _ in range(ATTEMPTS):
        for lane, window in enumerate(windows):
            _set(link, phy, 1 << lane, _SLIP_RESET, _SLIP_UP, window.slip)
            _set(link, phy, 1 << lane, _DELAY_RESET, _DELAY_UP, window.delay)
        if _try(link, phy).all():
            _put(link, addresses.DFI, _HARDWARE)
            return windows
    raise DeviceError(
        f"the memory of the board at {link.transport.name} is not read right at the delays that were found for it "
        f"({', '.join(f'{w.delay} of {w.first} to {w.last}' for w in windows)}): try again, or a lower clock"
    )


def widest(right: NDArray[np.bool_]) -> Window | None:
    """The widest run of neighbouring delays that work, at the lowest slip of those equally wide; None without one.

    Args:
        right: slips x delays.
    """
    best: Window | None = None
    for slip, row in enumerate(right):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], row, [False])).astype(np.int8)))
        for first, after in zip(edges[::2], edges[1::2], strict=True):
            length = best.last - best.first + 1 if best else NEIGHBOURS - 1
            if after - first > length:
                best = Window(slip, int(first), int(after) - 1)
    return best


def _scan(link: Link, phy: Phy) -> NDArray[np.bool_]:
    """Whether each setting works: lanes x slips x delays."""
    right = np.zeros((phy.lanes, phy.slips, phy.delays), np.bool_)
    every = (1 << phy.lanes) - 1
    for slip in range(phy.slips):
        _set(link, phy, every, _SLIP_RESET, _SLIP_UP, slip)
        _set(link, phy, every, _DELAY_RESET, _DELAY_UP, 0)
        for delay in range(phy.delays):
            right[:, slip, delay] = _try(link, phy)
            _step(link, phy, every, _DELAY_UP)
    return right


def _try(link: Link, phy: Phy) -> NDArray[np.bool_]:
    """Which lanes read all patterns right."""
    right = np.ones(phy.lanes, np.bool_)
    for seed in SEEDS:
        pattern = np.random.default_rng(seed).integers(0, 1 << 32, (phy.phases, 2), np.uint32)
        wrong = _write_and_read(link, phy, pattern) ^ pattern
        seen = int(link.read(addresses.PHY + 4 * _STROBE_SEEN, 1)[0])
        lanes = wrong.astype("<u4").view(np.uint8).reshape(-1, phy.lanes)  # a word's lowest byte is lane 0's
        right &= ~lanes.any(axis=0) & (seen >> np.arange(phy.lanes) & 1).astype(np.bool_)
        if not right.any():
            break
    return right


def _write_and_read(link: Link, phy: Phy, pattern: Words) -> Words:
    for phase in range(phy.phases):
        link.write(_phase(phase) + 4 * _WRITTEN, pattern[phase])
    _command(link, 0, _ACTIVATE)
    _command(link, phy.write_phase, _WRITE)
    _put(link, addresses.PHY + 4 * _STROBE_CLEAR, 1)
    _command(link, phy.read_phase, _READ)
    _command(link, 0, _PRECHARGE)
    return np.stack([link.read(_phase(phase) + 4 * _READ_BACK, 2) for phase in range(phy.phases)])


def _set(link: Link, phy: Phy, lanes: int, reset: int, up: int, steps: int) -> None:
    for register in (reset, *[up] * steps):
        _step(link, phy, lanes, register)


def _step(link: Link, phy: Phy, lanes: int, register: int) -> None:
    """One step of lanes; then all strobes stand still for a moment, which brings them in step again."""
    select = addresses.PHY + 4 * _SELECT
    _put(link, select, lanes)
    _put(link, addresses.PHY + 4 * register, 1)
    for value in (0, (1 << phy.lanes) - 1, 0):
        _put(link, select, value)


def _command(link: Link, phase: int, command: int) -> None:
    _put(link, _phase(phase) + 4 * _COMMAND, command, 1)


def _phase(phase: int) -> int:
    return addresses.DFI + 4 + 4 * addresses.DFI_PHASE_WORDS * phase


def _put(link: Link, address: int, *values: int) -> None:
    link.write(address, np.array(values, np.uint32))
