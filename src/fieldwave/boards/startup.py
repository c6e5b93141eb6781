"""The start-up of a memory chip, in gateware: LiteDRAM's own sequence, performed after every reset.

Elsewhere LiteX leaves it to a processor's software. Here there is no processor, and a host should find a board
whose memory answers. SDR memory is ready when the sequence ends. DDR3 memory has its mode registers then; which
delays read its data at the right time (read leveling) depends on the board, and a host has still to find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litedram.init import get_sdram_phy_init_sequence
from litex.gen import LiteXModule
from migen import Case, If, Signal

__all__ = ["Startup", "Step", "startup_steps"]

SPACING = 16
"""Cycles between two commands at least: more than tRP, tRFC and tMRD take at the clocks of an ECP5."""

_PINS = {"CKE": "cke", "ODT": "odt", "RESET_N": "reset_n"}
_STROBES = {"CS": "cs", "RAS": "ras", "CAS": "cas", "WE": "we"}


@dataclass(frozen=True)
class Step:
    """One step of the sequence.

    Attributes:
        pins: of cke, odt and reset_n, those that are high from here on; None leaves them as they are.
        strobes: of cs, ras, cas and we, those that are active for one cycle.
        address, bank: the pins of that name.
        cycles: until the next step.
    """

    pins: frozenset[str] | None
    strobes: frozenset[str]
    address: int
    bank: int
    cycles: int


def startup_steps(phy_settings: Any, timing_settings: Any) -> list[Step]:
    """LiteDRAM's sequence for a PHY and a chip; what it writes for C, as data."""
    steps = []
    for _, address, bank, command, cycles in get_sdram_phy_init_sequence(phy_settings, timing_settings)[0]:
        names = command.split("|")
        pins = frozenset(_PINS[name.removeprefix("DFII_CONTROL_")] for name in names if "CONTROL" in name)
        strobes = frozenset(_STROBES[name.removeprefix("DFII_COMMAND_")] for name in names if "COMMAND" in name)
        steps.append(Step(pins or None, strobes, address, bank, max(cycles, SPACING)))
    return steps


class Startup(LiteXModule):
    """Drives the chip's pins through ``dfi`` while ``selected``, that is, from reset to the end of the sequence.

    Parameters:
        dfi: LiteDRAM's DFI interface; commands go out in its phase 0.
        steps: what is done.
    """

    def __init__(self, dfi: Any, steps: list[Step]) -> None:
        self.selected = selected = Signal(reset=1)
        index, left = Signal(max=len(steps) + 1), Signal(max=max(step.cycles for step in steps) + 1)
        first = Signal(reset=1)  # cycle of a step
        pins = {name: Signal() for name in _PINS.values()}
        for phase in dfi.phases:
            for name, value in pins.items():
                self.comb += getattr(phase, name).eq(value)
        zero = dfi.phases[0]
        performed: dict[Any, list[Any]] = {}
        for number, step in enumerate(steps):
            performed[number] = [zero.address.eq(step.address), zero.bank.eq(step.bank)]
            performed[number] += [If(first, getattr(zero, f"{strobe}_n").eq(0)) for strobe in sorted(step.strobes)]
        self.comb += Case(index, performed)
        self.sync += [
            first.eq(0),
            If(left != 0, left.eq(left - 1))
            .Elif(~first, index.eq(index + 1), first.eq(1))
            .Else(Case(index, {number: left.eq(step.cycles - 2) for number, step in enumerate(steps)})),
            If(
                first & selected,
                Case(index, {number: self._levels(pins, step) for number, step in enumerate(steps)}),
            ),
            If(index == len(steps), selected.eq(0), index.eq(index), first.eq(0)),
        ]

    @staticmethod
    def _levels(pins: dict[str, Signal], step: Step) -> list[Any]:
        if step.pins is None:
            return []
        return [value.eq(name in step.pins) for name, value in pins.items()]
