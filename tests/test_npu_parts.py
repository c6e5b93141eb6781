"""What of an NPU fits which part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fieldwave.boards import board
from fieldwave.compiler.tune import has_room
from fieldwave.errors import NotFoundError
from fieldwave.npu import CONFIGURATIONS, configuration
from fieldwave.npu.parts import PARTS, Block, part
from fieldwave.npu.resources import fits, look_up_tables, memories, resources

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
CARDS_COUNTED = json.loads((RESULTS / "card_synthesis.json").read_text())["cards"]
BOARDS_COUNTED = json.loads((RESULTS / "board_synthesis.json").read_text())
LOGIC_ERROR = 0.05
ETHERNET_BLOCKS = 4
"""Block memories of the ECPIX-5's bridge, for frames."""


@pytest.mark.parametrize(
    ("name", "target"),
    [(name, target) for name in CONFIGURATIONS for target in PARTS if name.startswith(target) or name == target],
)
def test_configurations_fit_the_part_of_their_name(name: str, target: str) -> None:
    assert fits(configuration(name), part(target)), resources(configuration(name), part(target))


def test_every_configuration_is_for_a_part() -> None:
    """Those of parts are named after them; the others are for tests and simulation, and fit some card, too."""
    assert {"ecp5-85f", "zcu104", "kv260", "arria10-1150", "u250"} <= set(PARTS) & set(CONFIGURATIONS)
    for name in CONFIGURATIONS:
        if not name.startswith(tuple(PARTS)):
            assert any(fits(configuration(name), one) for one in PARTS.values()), name


def test_what_is_too_large_does_not_fit() -> None:
    assert not fits(configuration("sim64"), part("ecp5-85f"))  # multipliers
    sim16 = configuration("sim16")
    small = replace(sim16, bank_bytes=(64 << 10, 128 << 10), ring_bytes=64 << 10, prescale_words=0)
    assert not fits(small, part("ecp5-85f"))  # 256 products
    assert not fits(replace(sim16, output_lanes=8, prescale_words=0), part("ecp5-85f"))  # 2 MiB of activations
    assert fits(replace(small, output_lanes=8), part("ecp5-85f"))


@pytest.mark.parametrize("name", BOARDS_COUNTED)
def test_an_ecp5_is_counted_as_yosys_counts_it(name: str) -> None:
    """The whole systems of the boards, as ``benchmarks/board_synthesis.py`` has synthesised them."""
    counted, target = BOARDS_COUNTED[name], part("ecp5-85f")
    npu, cells = configuration(counted["npu"]), counted["cells"]
    taken = resources(npu, target)
    assert counted["fingerprint"] == f"{npu.fingerprint:016x}", "python benchmarks/board_synthesis.py --write"
    assert taken.multipliers == cells["MULT18X18D"]
    assert taken.blocks == (cells["DP16KD"] - ETHERNET_BLOCKS * (board(name).link == "etherbone"),)
    assert counted["logic"] <= target.logic and cells["DP16KD"] <= target.blocks[0].count


@pytest.mark.parametrize("name", CARDS_COUNTED)
def test_a_card_is_counted_as_yosys_counts_it_and_its_logic_fits(name: str) -> None:
    """As ``benchmarks/card_synthesis.py`` has synthesised pieces and rest."""
    counted, npu, target = CARDS_COUNTED[name], configuration(name), part(name.partition("x")[0])
    cells = counted["cells"]
    assert counted["fingerprint"] == f"{npu.fingerprint:016x}", (
        f"python benchmarks/card_synthesis.py {name} --write"
    )
    if "DSP48E2" in cells:
        assert resources(npu, target).multipliers == cells["DSP48E2"]
    logic = sum(cells.get(kind, 0) for kind in ("LUT", "LUT as memory", "ALUT", "MLAB"))
    assert logic <= target.logic
    if counted["rest"] and target.six_inputs:
        assert abs(look_up_tables(npu) / logic - 1) < LOGIC_ERROR


def test_a_k26_runs_out_of_logic_first() -> None:
    """With as many requantizers as the ZCU104's, nothing is left beside the core."""
    more = replace(configuration("kv260"), requantizer_lanes=32)
    assert fits(more, part("kv260")) and look_up_tables(more) > 0.97 * part("kv260").logic
    assert not has_room(more, part("kv260")) and has_room(configuration("kv260"), part("kv260"))
    wider = replace(more, pixel_lanes=2, bank_bytes=(128 << 10, 128 << 10))
    assert not fits(wider, replace(part("kv260"), multipliers=9999)) and resources(wider, part("u250")).logic


def test_every_named_configuration_of_a_part_is_counted() -> None:
    counted = {*CARDS_COUNTED, *(one["npu"] for one in BOARDS_COUNTED.values())}
    assert counted == {name for name in CONFIGURATIONS if name.startswith(tuple(PARTS))}


def test_blocks_of_a_memory() -> None:
    ebr = Block("EBR", 208, ((512, 32), (1024, 16), (2048, 8)))
    assert ebr.needed(512, 32) == ebr.needed(1024, 16) == ebr.needed(2048, 8) == 1
    assert ebr.needed(513, 32) == 2 and ebr.needed(6144, 128) == 48


def test_memories_are_those_of_the_configuration() -> None:
    tiny = configuration("tiny")
    assert memories(tiny)[:3] == [(8192, 64), (8192, 64), (2048, 64)]
    total = sum(depth * width for depth, width in memories(tiny)) // 8
    assert resources(tiny, part("u250")).memory_bytes == total >= sum(tiny.bank_bytes) + tiny.ring_bytes


def test_every_pixel_lane_has_a_copy_of_the_banks_in_parts() -> None:
    four = configuration("u250x4")
    assert memories(four)[0] == (four.ring_beats, 4096)
    assert memories(four)[1:33] == [(16384 // 4, 512)] * 16 + [(12288 // 4, 512)] * 16
    assert resources(four, part("u250")).blocks[0] == 1280  # all of them: 1024 are the ring
    assert not fits(replace(four, bank_bytes=(2048 << 10, 4096 << 10)), part("u250"))


def test_unknown_parts_are_named() -> None:
    with pytest.raises(
        NotFoundError, match=r"^no part 'u999' in the table; there are u250, u280, zcu104, kv260, "
    ):
        part("u999")


def test_every_part_has_a_source() -> None:
    for one in PARTS.values():
        assert any(vendor in one.source for vendor in ("AMD", "Intel", "Lattice"))
        assert one.multipliers * one.products * one.megahertz > 0 and one.bandwidth > 0


def test_the_page_has_the_table() -> None:
    page = (Path(__file__).parent.parent / "docs" / "estimates.md").read_text()
    for name, one in PARTS.items():
        blocks = ", ".join(f"{block.count} {block.name}" for block in one.blocks)
        figures = f"{one.logic} | {one.multipliers} | {blocks} | {one.bandwidth:g} | {one.megahertz:g}"
        assert f"| `{name}` | {one.name} | {figures} | {one.source} |" in page
