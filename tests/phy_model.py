"""A DDR3 memory behind LiteDRAM's registers, in Python: a PHY whose reads are right at some settings only.

After `litedram.dfii.DFIInjector` and `litedram.phy.ECP5DDRPHY`, not by the driver's code. A wrong delay gives
noise and no strobe; a wrong bit slip the right transfers a little earlier or later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES, PHASES, READ_PHASE, WRITE_PHASE, DELAYS, SLIPS = 2, 2, 0, 1, 8, 4
TRANSFERS = 8
FACTS = LANES | (PHASES - 1) << 8 | READ_PHASE << 10 | WRITE_PHASE << 12 | DELAYS << 16 | SLIPS << 24
CONTROL, PHASE, PHASE_WORDS = 0x2000, 0x2004, 8
SELECT = 0x2800


class Phy:
    """Registers from 0x2000 on, and what reads of main memory go through.

    Args:
        windows: for each lane the bit slip and the delays at which it is read right.

    Attributes:
        slips, delays: of each lane, now.
        spotty: reads, from the next on, that fail at any setting.
        reads: how many there have been.
    """

    def __init__(self, windows: list[tuple[int, set[int]]]) -> None:
        self.windows = windows
        self.spotty: set[int] = set()
        self.reads = 0
        self._noise = np.random.default_rng(11)
        self.reset()

    def reset(self) -> None:
        self.slips, self.delays, self.selected, self.seen = [0] * LANES, [0] * LANES, 0, 0
        self.control = 1
        self.registers = np.zeros((PHASES, PHASE_WORDS), np.uint32)
        self.row: int | None = None
        self.cells: dict[tuple[int, int, int], NDArray[np.uint8]] = {}

    @property
    def sound(self) -> bool:
        """The controller has its turn, and reads every lane right."""
        return self.control == 1 and all(self._right(lane) for lane in range(LANES))

    def _right(self, lane: int) -> bool:
        slip, delays = self.windows[lane]
        return self.slips[lane] == slip and self.delays[lane] in delays

    def read(self, address: int) -> int:
        if address == SELECT + 24:
            return self.seen
        if address == CONTROL:
            return self.control
        phase, word = divmod((address - PHASE) // 4, PHASE_WORDS)
        return int(self.registers[phase, word]) if phase < PHASES else 0

    def write(self, address: int, value: int) -> None:
        if address >= SELECT:
            self._adjust((address - SELECT) // 4, value)
        elif address == CONTROL:
            self.control = value
        else:
            phase, word = divmod((address - PHASE) // 4, PHASE_WORDS)
            if word == 1 and self.control == 0b1110:
                self._command(phase, int(self.registers[phase, 0]))
            elif word < 6:
                self.registers[phase, word] = value

    def _adjust(self, register: int, value: int) -> None:
        if register == 0:
            self.selected = value
        elif register == 5:
            self.seen = 0
        for lane in range(LANES):
            if self.selected >> lane & 1:
                if register in (1, 2):
                    self.delays[lane] = 0 if register == 1 else (self.delays[lane] + 1) % DELAYS
                elif register in (3, 4):
                    self.slips[lane] = 0 if register == 3 else (self.slips[lane] + 1) % SLIPS

    def _command(self, phase: int, command: int) -> None:
        self.perform(phase, command, int(self.registers[phase, 2]), int(self.registers[phase, 3]))

    def perform(self, phase: int, command: int, address: int, bank: int) -> bool:
        """A command of the chip, in bits of LiteDRAM's register; whether data were read into ``registers``."""
        chip, write, column, row, data_out, data_in = (command >> bit & 1 for bit in range(6))
        where = (bank, self.row or 0, address)
        if not chip:
            return False
        if row and not column:
            self.row = None if write else address
        elif column and not row and self.row is not None and not self.selected:
            if write and data_out and phase == WRITE_PHASE:
                self.cells[where] = self._transfers(self.registers[:, 4:6])
            elif data_in and not write and phase == READ_PHASE:
                self._back(self.cells.get(where, np.zeros((TRANSFERS, LANES), np.uint8)))
                return True
        return False

    def _transfers(self, words: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """Words, of each phase the higher first, as what goes over the pins, in order."""
        return words[:, ::-1].astype("<u4").view(np.uint8).reshape(TRANSFERS, LANES).copy()

    def _back(self, cells: NDArray[np.uint8]) -> None:
        found = self._noise.integers(0, 256, cells.shape, np.uint8)
        spotty, self.reads = self.reads in self.spotty, self.reads + 1
        for lane, (slip, delays) in enumerate(self.windows):
            if self.delays[lane] in delays and not spotty:
                self.seen |= 1 << lane
                shift = (self.slips[lane] - slip) % SLIPS
                found[: TRANSFERS - shift, lane] = cells[shift:, lane]
        self.registers[:, 6:8] = found.reshape(PHASES, 8).view("<u4")[:, ::-1]

    def pass_on(self, word: int) -> int:
        """A word of main memory on its way to the host."""
        return word if self.sound else int(self._noise.integers(0, 1 << 32))
