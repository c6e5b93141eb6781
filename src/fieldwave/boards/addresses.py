"""Where things are on the bus of a board: what the gateware and the driver agree upon.

All addresses count bytes on a bus 32 bits wide. The NPU and the host see memory at the same addresses.
"""

from __future__ import annotations

__all__ = [
    "BUS_ERRORS",
    "CLOCK",
    "CSR_SLOTS",
    "DFI",
    "DFI_PHASE_WORDS",
    "IDENTIFIER",
    "LEVELING",
    "MEMORY",
    "MEMORY_BYTES",
    "NPU",
    "NPU_BYTES",
    "PHY",
    "RESET",
    "STARTING",
    "WITNESS",
]

MEMORY = 0x4000_0000
"""First byte of main memory."""
NPU = 0x8000_0000
"""The registers of `fieldwave.npu.isa`."""
NPU_BYTES = 0x4000

CSR_SLOTS = {"ctrl": 0, "identifier_mem": 1, "witness": 2, "facts": 3, "sdram": 4, "ddrphy": 5}
"""LiteX's control and status registers: a page of 2048 bytes for each part of a board, from address 0 on."""
_PAGE = 0x800
RESET = CSR_SLOTS["ctrl"] * _PAGE
"""LiteX's controller: writing 1 resets the whole board but its host bridge's other end."""
BUS_ERRORS = RESET + 8
"""LiteX's controller: transactions that nobody answered."""
IDENTIFIER = CSR_SLOTS["identifier_mem"] * _PAGE
"""A text, one character in each word, zero at its end: `soc.identifier`."""
WITNESS = CSR_SLOTS["witness"] * _PAGE
"""CRC-32 of all that the bridge has done: `witness.Witness`. 0 after a reset; reading it changes nothing."""
CLOCK = CSR_SLOTS["facts"] * _PAGE
"""Clock of the NPU in hertz."""
MEMORY_BYTES = CLOCK + 4
"""Size of main memory in bytes."""
STARTING = CLOCK + 8
"""1 while the memory chip is being started up (`startup.Startup`); what is sent to it then is lost."""
LEVELING = CLOCK + 12
"""What the memory's PHY is like, `soc.leveling`; 0 where no delays of reads have to be found."""

DFI = CSR_SLOTS["sdram"] * _PAGE
"""LiteDRAM's injector of commands: its control, then for every phase `DFI_PHASE_WORDS` registers: command, issue,
address, bank, and the data to write and those read, 64 bits each, the higher 32 first."""
DFI_PHASE_WORDS = 8
PHY = CSR_SLOTS["ddrphy"] * _PAGE
"""LiteDRAM's PHY of an ECP5: selected lanes, delay reset, delay up, slip reset, slip up, strobe clear and seen."""
