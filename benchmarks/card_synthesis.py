"""What the pieces of an NPU cost on the parts of the cards, by Yosys; a card's array is these pieces, many times.

::

    python benchmarks/card_synthesis.py           # counts
    python benchmarks/card_synthesis.py --write   # and keeps them: results/card_synthesis.json, docs/cards.md

A whole core of 64 x 64 takes Yosys hours, so what is there once for each lane is counted once and multiplied: two
rows of the array, the multipliers of both packed as the card's project has them, and one lane of every other unit.
What is there once (descriptors, addresses, the memory port), what joins lanes, and all block memory but that of
the pieces is not in these sums: ``fieldwave.npu.resources`` counts the latter.

Needs a native Yosys (``apt-get install yosys``): the WebAssembly build of 0.70 ends in its abc9.

Intel: Yosys knows no Arria 10, so ``synth_intel_alm -family cyclonev`` stands for it, as a proxy: its adaptive
logic modules are alike, its DSP blocks hold three products of 9 x 9, not two of 18 x 19.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from amaranth.back import rtlil

from fieldwave.npu import Configuration, configuration, emit
from fieldwave.npu.array import MultiplierArray
from fieldwave.npu.eltwise import Eltwise
from fieldwave.npu.lookup import Lookup
from fieldwave.npu.packed import Products
from fieldwave.npu.pool import Divide
from fieldwave.npu.prescale import Prescale
from fieldwave.npu.requantize import Requantize

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "card_synthesis.json"
PAGE = ROOT / "docs" / "cards.md"
BEGIN, END = "<!-- made by benchmarks/card_synthesis.py -->\n", "<!-- end -->\n"

_YOSYS = """
read_rtlil packed.il
read_rtlil top.il
hierarchy -top top
proc
flatten
opt_clean
select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr
{synthesis}
tee -q -o stat.json stat -json
"""
_FREE = {"INV", "MUXF7", "MUXF8", "MUXF9", "MISTRAL_CONST"}
"""Cells that cost nothing of their own: part of a slice whose look-up tables are counted."""


@dataclass(frozen=True)
class Family:
    """A family of parts to Yosys.

    Attributes:
        synthesis: the command that maps to its cells.
        kinds: what is counted, and by which beginnings of cells' names, with the weight of each.
    """

    synthesis: str
    kinds: dict[str, dict[str, int]]


FAMILIES = {
    "xcup": Family(
        "synth_xilinx -family xcup -uram -noiopad -noclkbuf -top top",
        {
            "LUT": {f"LUT{n}": 1 for n in range(1, 7)},
            "LUT as memory": {"RAM32M16": 16, "RAM64M8": 8, "RAM32M": 4, "RAM64M": 4, "SRL16E": 1, "SRLC32E": 1},
            "CARRY4": {"CARRY4": 1},
            "FF": dict.fromkeys(("FDRE", "FDSE", "FDCE", "FDPE"), 1),
            "DSP48E2": {"DSP48E2": 1},
            "RAMB18": {"RAMB18E2": 1, "RAMB36E2": 2},
            "URAM288": {"URAM288": 1},
        },
    ),
    "cyclonev": Family(
        "synth_intel_alm -family cyclonev -noiopad -noclkbuf -top top",
        {
            "ALUT": {f"MISTRAL_ALUT{n}": 1 for n in range(2, 7)} | {"MISTRAL_ALUT_ARITH": 1, "MISTRAL_NOT": 1},
            "FF": {"MISTRAL_FF": 1},
            "MLAB": {"MISTRAL_MLAB": 1},
            "MUL9X9": {"MISTRAL_MUL9X9": 1},
            "MUL18X18": {"MISTRAL_MUL18X18": 1},
            "MUL27X27": {"MISTRAL_MUL27X27": 1},
            "M10K": {"MISTRAL_M10K": 1},
        },
    ),
}

CARDS = {
    "u250": ("xcup", Products.DSP48E2),
    "u250x2": ("xcup", Products.DSP48E2),
    "u250x4": ("xcup", Products.DSP48E2),
    "zcu104": ("xcup", Products.DSP48E2),
    "kv260": ("xcup", Products.DSP48E2),
    "arria10-1150": ("cyclonev", Products.PLAIN),
}
"""Configurations with a part that Yosys maps to and no open tool places on: its family, and their multipliers."""


@dataclass(frozen=True)
class Piece:
    """What is synthesised once and counted ``times``; pieces of equal ``name`` are equal."""

    name: str
    make: Callable[[], Any]
    platform: Any
    times: int


def card_pieces(c: Configuration, products: Products) -> list[Piece]:
    """The pieces of one NPU."""
    lanes = c.pixel_lanes
    rows = replace(c, output_lanes=2, requantizer_lanes=2, port_bytes=c.input_lanes // 4, pixel_lanes=1)
    platform = SimpleNamespace(products=products)
    name = f"array {c.input_lanes} x 2, {products.value}"
    found = [
        Piece(name, lambda: MultiplierArray(rows), platform, lanes * c.output_lanes // 2),
        Piece("requantize", lambda: Requantize(1), None, lanes * c.requantizer_lanes),
        Piece("eltwise", lambda: Eltwise(1), None, lanes * c.requantizer_lanes),
        Piece("pool", lambda: Divide(1), None, lanes * c.requantizer_lanes),
    ]
    if c.lookup:
        found.append(Piece("lookup", lambda: Lookup(1), None, lanes * c.output_lanes))
    if c.prescale_words:
        words = c.prescale_words
        found.append(Piece(f"prescale {words}", lambda: Prescale(1, words), None, lanes * c.input_lanes))
    return found


def total(counts: list[tuple[int, dict[str, int]]]) -> dict[str, int]:
    """The sum of all pieces' cells."""
    found: dict[str, int] = {}
    for times, cells in counts:
        for kind, count in cells.items():
            found[kind] = found.get(kind, 0) + times * count
    return found


def count(component: Any, family: str, platform: Any = None) -> dict[str, int]:
    """Cells of ``component`` by kind.

    Raises:
        RuntimeError: Yosys refuses it, or made a cell that no kind counts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, kinds = Path(name), FAMILIES[family].kinds
        (folder / "top.il").write_text(rtlil.convert(component, name="top", platform=platform, emit_src=False))
        (folder / "packed.il").write_text(emit._packed_products())
        (folder / "top.ys").write_text(_YOSYS.format(synthesis=FAMILIES[family].synthesis))
        done = subprocess.run(["yosys", "-q", "-s", "top.ys"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"yosys ended with {done.returncode}: {done.stderr.strip()}")
        cells = json.loads((folder / "stat.json").read_text())["modules"]["\\top"]["num_cells_by_type"]
    known = {cell for names in kinds.values() for cell in names} | _FREE
    if unknown := set(cells) - known:
        raise RuntimeError(f"Yosys made cells that nobody counts: {', '.join(sorted(unknown))}")
    found = {
        kind: sum(cells.get(cell, 0) * weight for cell, weight in names.items()) for kind, names in kinds.items()
    }
    return {kind: number for kind, number in found.items() if number}


def count_cards(progress: Callable[[str], None]) -> dict[str, Any]:
    """Pieces, and the sums of every card's NPU."""
    pieces: dict[str, dict[str, int]] = {}
    cards: dict[str, Any] = {}
    for name, (family, products) in CARDS.items():
        times = {}
        for piece in card_pieces(configuration(name), products):
            key = f"{family}: {piece.name}"
            if key not in pieces:
                pieces[key] = count(piece.make(), family, piece.platform)
                progress(f"{key} {json.dumps(pieces[key])}")
            times[key] = piece.times
        cells = total([(number, pieces[key]) for key, number in times.items()])
        cards[name] = {"pieces": times, "cells": cells}
        progress(f"{name} {json.dumps(cells)}")
    return {"yosys": yosys_version(), "pieces": pieces, "cards": cards}


def yosys_version() -> str:
    return subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=True).stdout.split("(")[0].strip()


def table(figures: dict[str, Any]) -> str:
    """The sums in Markdown, a table for each family."""
    lines = []
    for family, about in FAMILIES.items():
        names = [name for name in figures["cards"] if CARDS[name][0] == family]
        used = [kind for kind in about.kinds if any(kind in figures["cards"][name]["cells"] for name in names)]
        lines += [f"| {family}, {figures['yosys']} | {' | '.join(used)} |", "|---" * (len(used) + 1) + "|"]
        for name in names:
            cells = figures["cards"][name]["cells"]
            lines.append(f"| `{name}` | {' | '.join(f'{cells.get(kind, 0):,}' for kind in used)} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name} and the page")
    options = parser.parse_args()
    figures = count_cards(print)
    if options.write:
        RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
        page = PAGE.read_text()
        before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
        PAGE.write_text(page[:before] + table(figures) + page[after:])


if __name__ == "__main__":
    main()
