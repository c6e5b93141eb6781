"""What place and route says of a design: what it takes of the part, how fast a clock may be, what bounds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CELLS", "Clock", "Placed", "read_report"]

CELLS = {
    "TRELLIS_COMB": "logic",
    "TRELLIS_FF": "registers",
    "MULT18X18D": "multipliers",
    "DP16KD": "block memories",
    "TRELLIS_RAMW": "distributed memories",
    "TRELLIS_IO": "pins",
}
"""nextpnr's names of what an ECP5 has, and ours."""


@dataclass(frozen=True)
class Clock:
    """A clock of the design.

    Attributes:
        name: of its net.
        asked, reached: megahertz.
        path: the cells and nets of the slowest path, from register to register.
    """

    name: str
    asked: float
    reached: float
    path: tuple[str, ...]

    @property
    def met(self) -> bool:
        return self.reached >= self.asked


@dataclass(frozen=True)
class Placed:
    """A placed and routed design.

    Attributes:
        cells: used and there, by kind, as `CELLS` calls them.
        clocks: the slowest, compared with what was asked, first.
    """

    cells: Mapping[str, tuple[int, int]]
    clocks: tuple[Clock, ...]

    @property
    def met(self) -> bool:
        """All clocks are as fast as was asked."""
        return all(clock.met for clock in self.clocks)


def read_report(path: Path) -> Placed:
    """The file that nextpnr writes with ``--report``."""
    told = json.loads(path.read_text())
    paths = {
        one["from"].removeprefix("posedge "): one["path"]
        for one in told.get("critical_paths", ())
        if one["from"] == one["to"]
    }
    clocks = [
        Clock(_plain(net), facts["constraint"], facts["achieved"], tuple(_steps(paths.get(net, ()))))
        for net, facts in told["fmax"].items()
    ]
    cells = {
        CELLS[kind]: (facts["used"], facts["available"])
        for kind, facts in told["utilization"].items()
        if kind in CELLS
    }
    ordered = sorted(clocks, key=lambda clock: clock.reached / clock.asked)
    return Placed({name: cells[name] for name in CELLS.values() if name in cells}, tuple(ordered))


def _plain(net: str) -> str:
    return net.removeprefix("$glbnet$")


def _steps(path: Any) -> list[str]:
    return [
        f"{step['type']} {step['delay']:.2f} ns {step['from']['cell']} -> {step['to']['cell']}" for step in path
    ]
