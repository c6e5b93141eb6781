"""What an NPU costs on the parts of the cards, by Yosys: its pieces, many times, and the rest of its core, once.

::

    python benchmarks/card_synthesis.py                # counts all of them: 45 minutes
    python benchmarks/card_synthesis.py kv260 --write  # one; kept in results/card_synthesis.json, docs/cards.md

A whole core of 64 x 64 takes Yosys hours, so what is there once for each lane is counted once and multiplied: two
rows of the array, the multipliers of both packed as the card's project has them, and one lane of every other unit.
All else (descriptors, addresses, memory port, accumulators, block memory, what joins lanes) is the rest: the core
with these units as boxes, counted as it is.

Needs a native Yosys (``apt-get install yosys``): the WebAssembly build of 0.70 ends in its abc9. 0.23 needs hours
for the rest of several pixel lanes; 0.52, that of Debian 13, some minutes.

Intel: Yosys knows no Arria 10, so ``synth_intel_alm -family cyclonev`` stands for it, as a proxy: its adaptive
logic modules are alike, its DSP blocks hold three products of 9 x 9, not two of 18 x 19.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from amaranth import Instance, Module, Value
from amaranth.back import rtlil
from amaranth.lib.wiring import In

from fieldwave.npu import Configuration, configuration, emit
from fieldwave.npu.array import MultiplierArray
from fieldwave.npu.core import Npu
from fieldwave.npu.eltwise import Eltwise
from fieldwave.npu.lookup import Lookup
from fieldwave.npu.packed import Products
from fieldwave.npu.parts import part
from fieldwave.npu.pool import Divide
from fieldwave.npu.prescale import Prescale
from fieldwave.npu.requantize import Requantize

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "card_synthesis.json"
PAGE = ROOT / "docs" / "cards.md"
BEGIN, END = "<!-- made by benchmarks/card_synthesis.py -->\n", "<!-- end -->\n"

_YOSYS = """
read_rtlil packed.il
read_verilog -lib boxes.v
read_rtlil top.il
hierarchy -top top
proc
flatten
opt_clean
select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr
opt_expr
wreduce
opt_clean
techmap -map two.v t:$add
{synthesis}
tee -q -o stat.json stat -json
"""
_TWO = """
(* techmap_celltype = "$add" *)
module two #(parameter A_SIGNED=0, B_SIGNED=0, A_WIDTH=1, B_WIDTH=1, Y_WIDTH=1)
    (input [A_WIDTH-1:0] A, input [B_WIDTH-1:0] B, output [Y_WIDTH-1:0] Y);
wire [Y_WIDTH-1:0] X, CO;
\\$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
    _TECHMAP_REPLACE_ (.A(A), .B(B), .BI(1'b0), .CI(1'b0), .X(X), .Y(Y), .CO(CO));
endmodule
"""
"""Every sum by a carry chain: left alone, Yosys makes those of three or more of look-up tables, many more."""
_FREE = {"INV", "MUXF7", "MUXF8", "MUXF9", "MISTRAL_CONST", "$scopeinfo"}
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
    dividers = max(1, c.requantizer_lanes // 4)  # as output.py has them
    parts = c.output_lanes // dividers
    name = f"array {c.input_lanes} x 2, {products.value}"
    found = [
        Piece(name, lambda: MultiplierArray(rows), platform, lanes * c.output_lanes // 2),
        Piece("requantize", lambda: Requantize(1), None, lanes * c.requantizer_lanes),
        Piece("eltwise", lambda: Eltwise(1), None, lanes * c.requantizer_lanes),
        Piece(f"pool, 1 for {parts}", lambda: Divide(parts, parts), None, lanes * dividers),
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


PIECES = (MultiplierArray, Requantize, Eltwise, Divide, Lookup, Prescale)
"""Components that are counted as pieces, and boxes in what is left."""


@contextmanager
def boxes() -> Iterator[list[str]]:
    """Meanwhile the pieces elaborate to boxes with their ports; the Verilog of those boxes, as they come."""
    made: list[str] = []

    def elaborate(self: Any, platform: Any) -> Module:
        m = Module()
        name, ports, lines = f"box_{len(made)}", {}, []
        for path, member, value in self.signature.flatten(self):
            port, way = "_".join(map(str, path)), "i" if member.flow == In else "o"
            ports[f"{way}_{port}"] = value
            lines.append(f"{'input' if way == 'i' else 'output'} [{len(Value.cast(value)) - 1}:0] {port}")
        made.append(f"(* blackbox *) module {name}({', '.join(lines)}); endmodule\n")
        m.submodules.box = Instance(name, **ports)
        return m

    with ExitStack() as patches:
        for piece in PIECES:
            patches.enter_context(patch.object(piece, "elaborate", elaborate))
        yield made


def count_rest(configuration: Configuration, family: str) -> dict[str, int]:
    """Cells of a core but for its pieces: what is there once, what joins lanes, all other memory."""
    with boxes() as made:
        return count(Npu(configuration), family, emit._Platform(Products.PLAIN), made)


def count(component: Any, family: str, platform: Any = None, boxes: Sequence[str] = ()) -> dict[str, int]:
    """Cells of ``component`` by kind.

    Raises:
        RuntimeError: Yosys refuses it, or made a cell that no kind counts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, kinds = Path(name), FAMILIES[family].kinds
        text = rtlil.convert(component, name="top", platform=platform, emit_src=False)
        (folder / "top.il").write_text(emit._MEMORY_CONTENT.sub("", text))
        (folder / "two.v").write_text(_TWO)
        (folder / "boxes.v").write_text("".join(boxes))
        (folder / "packed.il").write_text(emit._packed_products())
        (folder / "top.ys").write_text(_YOSYS.format(synthesis=FAMILIES[family].synthesis))
        done = subprocess.run(["yosys", "-q", "-s", "top.ys"], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"yosys ended with {done.returncode}: {done.stderr.strip()}")
        cells = json.loads((folder / "stat.json").read_text())["modules"]["\\top"]["num_cells_by_type"]
    known = {cell for names in kinds.values() for cell in names} | _FREE
    if unknown := {cell for cell in cells if not cell.startswith("box_")} - known:
        raise RuntimeError(f"Yosys made cells that nobody counts: {', '.join(sorted(unknown))}")
    found = {
        kind: sum(cells.get(cell, 0) * weight for cell, weight in names.items()) for kind, names in kinds.items()
    }
    return {kind: number for kind, number in found.items() if number}


def count_card(name: str, pieces: dict[str, dict[str, int]], progress: Callable[[str], None]) -> dict[str, Any]:
    """A card's NPU: how many of which pieces, the rest, and the sum; ``pieces`` grows by those it had not yet."""
    (family, products), npu = CARDS[name], configuration(name)
    times = {}
    for piece in card_pieces(npu, products):
        key = f"{family}: {piece.name}"
        if key not in pieces:
            pieces[key] = count(piece.make(), family, piece.platform)
            progress(f"{key} {json.dumps(pieces[key])}")
        times[key] = piece.times
    rest = count_rest(npu, family)
    progress(f"{name}, rest {json.dumps(rest)}")
    cells = total([*((number, pieces[key]) for key, number in times.items()), (1, rest)])
    found = {"commit": commit(), "fingerprint": f"{npu.fingerprint:016x}"}
    return {**found, "pieces": times, "rest": rest, "cells": cells}


def commit() -> str:
    """Of the sources that are counted."""
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def yosys_version() -> str:
    return subprocess.run(["yosys", "-V"], capture_output=True, text=True, check=True).stdout.split("(")[0].strip()


def table(figures: dict[str, Any]) -> str:
    """The sums in Markdown, a table for each family."""
    lines = []
    for family, about in FAMILIES.items():
        names = [name for name in figures["cards"] if CARDS[name][0] == family]
        used = [kind for kind in about.kinds if any(kind in figures["cards"][name]["cells"] for name in names)]
        heads = " | ".join((*used, "of the part's logic"))
        lines += [f"| {family}, {figures['yosys']} | {heads} |", "|---" * (len(used) + 2) + "|"]
        for name in names:
            cells, there = figures["cards"][name]["cells"], part(name.partition("x")[0]).logic
            share = f"{100 * logic(cells) / there:.0f} % of {there:,}"
            which = f"`{name}`" if figures["cards"][name]["rest"] else f"`{name}`, pieces alone"
            lines.append(f"| {which} | {' | '.join(f'{cells.get(kind, 0):,}' for kind in used)} | {share} |")
        lines.append("")
    return "\n".join(lines)


def logic(cells: dict[str, int]) -> int:
    """Look-up tables of a sum, those included that are memory."""
    return sum(cells.get(kind, 0) for kind in ("LUT", "LUT as memory", "ALUT", "MLAB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", nargs="*", metavar="NPU", help=f"{', '.join(CARDS)}; all if none is said")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name} and the page")
    options = parser.parse_args()
    figures = json.loads(RESULTS.read_text())
    if figures["yosys"] != yosys_version() or not options.cards:
        figures = {"yosys": yosys_version(), "pieces": {}, "cards": {}}
    for name in options.cards or CARDS:
        figures["cards"][name] = count_card(name, figures["pieces"], print)
        print(name, json.dumps(figures["cards"][name]["cells"]))
        figures["cards"] = {one: figures["cards"][one] for one in CARDS if one in figures["cards"]}
        if options.write:  # each when it is there
            RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
            page = PAGE.read_text()
            before, after = page.index(BEGIN) + len(BEGIN), page.index(END)
            PAGE.write_text(page[:before] + table(figures) + page[after:])


if __name__ == "__main__":
    main()
