"""What the whole system of a board costs on its ECP5, by Yosys: NPU, memory controller, bridge, clocks and pins.

::

    python benchmarks/board_synthesis.py                    # every board, five minutes of processor time each
    python benchmarks/board_synthesis.py ulx3s-85f --write  # one: kept in results/board_synthesis.json and page

The Verilog is that of ``fieldwave bitstream build``, and so is the way through Yosys; what nextpnr makes of it is
`benchmarks/boards.py`'s matter. What is too slow for the routine run is compared there with the counts of
`fieldwave.npu.resources` (tests/test_npu_parts.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from fieldwave.boards import BOARDS, Board
from fieldwave.boards.bitstream import _Stages, _synthesise
from fieldwave.boards.tools import find_tool

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "board_synthesis.json"
PAGE = ROOT / "docs" / "boards.md"
BEGIN, END = "<!-- made by benchmarks/board_synthesis.py -->\n", "<!-- end of synthesis -->\n"
LOGIC = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4}
"""Cells that are made of a part's look-up tables, and of how many at least; nextpnr's own need comes on top."""
PART = {"logic": 83640, "TRELLIS_FF": 83640, "MULT18X18D": 156, "DP16KD": 208}
"""An ECP5-85F, as nextpnr knows it."""


def count(board: Board) -> dict[str, Any]:
    """Cells by kind, and the fingerprint of the NPU that is in them."""
    yosys = find_tool("yosys")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _synthesise(board, board.configuration, board.megahertz, folder, yosys, _Stages(lambda what, done: None))
        told = json.loads((folder / "cells.json").read_text())
    cells = cells_of(told)
    return {
        "commit": commit(),
        "npu": board.npu,
        "fingerprint": f"{board.configuration.fingerprint:016x}",
        "yosys": yosys.version,
        "cells": cells,
        "logic": sum(cells.get(kind, 0) * weight for kind, weight in LOGIC.items()),
    }


def commit() -> str:
    """Of the sources that are counted."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def cells_of(told: dict[str, Any]) -> dict[str, int]:
    """Of Yosys' ``stat -json``, whose older versions have no sum."""
    design = told.get("design") or told["modules"]["\\top"]
    return dict(sorted(design["num_cells_by_type"].items()))


def table(kept: dict[str, Any]) -> str:
    """The counts, in Markdown."""
    lines = [
        "| board | NPU | logic | LUT4, CCU2C, distributed memory | registers | multipliers | block memories |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in kept.items():
        cells = one["cells"]
        parts = ", ".join(f"{cells.get(kind, 0):,}" for kind in LOGIC)
        used = {**cells, "logic": one["logic"]}
        there = [f"{used[kind]:,} of {most:,}" for kind, most in PART.items()]
        lines.append(f"| `{name}` | `{one['npu']}` | {there[0]} | {parts} | {' | '.join(there[1:])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [one.name for one in BOARDS.values() if one.part]
    parser.add_argument("boards", nargs="*", metavar="BOARD", help=f"{', '.join(names)}; all if none is said")
    parser.add_argument("--write", action="store_true", help=f"keep the counts in {RESULTS.name} and the page")
    options = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.boards or names:
        kept[name] = count(BOARDS[name])
        print(name, json.dumps(kept[name]))
    kept = {name: kept[name] for name in names if name in kept}
    if options.write:
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
        page = PAGE.read_text()
        before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(page[:before] + table(kept) + page[after:])
    print(table(kept))


if __name__ == "__main__":
    main()
