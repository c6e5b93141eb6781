"""``fieldwave tune``: what fits a part, and which of it is fastest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fieldwave.cli.app import app
from fieldwave.cli.network import read_network
from fieldwave.compiler.estimate import Memory
from fieldwave.compiler.tune import Needs, candidates, has_room, tune
from fieldwave.npu import CONFIGURATIONS, configuration
from fieldwave.npu.parts import PARTS, part
from fieldwave.npu.resources import fits


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_best_configuration_is_one_for_other_commands(tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    result = run("tune", "digits", "--device", "ecp5-85f", "--output", str(file), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    best, target = configuration(str(file)), part("ecp5-85f")
    assert fits(best, target) and best.multipliers == 128
    assert list(best.bank_bytes) == found[0]["configuration"]["bank_bytes"]
    times = [one["later_milliseconds"] for one in found]
    assert times == sorted(times) and 2 <= len(times) <= 5
    assert found[0]["multipliers_taken"] <= target.multipliers
    assert found[0]["clock_mhz"] == 60 and found[0]["bandwidth_gb_per_s"] == 1.6
    again = run("estimate", "digits", "--npu", str(file), "--clock", "60", "--bandwidth", "1.6", "--json")
    assert json.loads(again.stdout)[0]["cycles"] == found[0]["cycles"]


def test_the_table_counts_what_the_part_has() -> None:
    result = run("tune", "digits", "--device", "ecp5-85f", "--top", "1", "--clock", "50", "--bandwidth", "0.4")
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert head.endswith("EBR") and row.endswith("of 208") and " of 156 " in row
    assert "Lattice ECP5-85F at 50 MHz, and 0.4 GB/s; " in result.stderr
    result = run("tune", "digits", "--device", "ecp5-85f", "--top", "1")
    assert "Lattice ECP5-85F at 60 MHz, a plan and no measurement, and 1.6 GB/s; " in result.stderr


def test_candidates_fit_and_differ() -> None:
    for target in (part(name) for name in ("ecp5-85f", "kv260", "u250")):
        found = list(candidates(target, Memory(64.0), Needs(True, True, 25_600_000)))
        assert found and all(fits(one, target) and has_room(one, target) for one in found)
        assert len(set(found)) == len(found)
        sizes = [one.multipliers for one in found]
        assert sizes == sorted(sizes, reverse=True)
    assert any(one.ring_bytes == 32 << 20 and one.port_bytes == 512 for one in found)  # weights stay on the U250


def test_a_tenth_of_the_block_memory_stays_free() -> None:
    """182 of 208 block memories of an ECP5 leave it, 198 do not; those of the named configurations all do."""
    larger = replace(configuration("ecp5-85f"), bank_bytes=(112 << 10, 176 << 10))
    assert fits(larger, part("ecp5-85f")) and not has_room(larger, part("ecp5-85f"))
    named = [name for name in PARTS if name in CONFIGURATIONS]
    assert named and all(has_room(configuration(name), part(name)) for name in named)


def test_nothing_larger_for_nothing() -> None:
    """Digits fit into the smallest banks: no configuration differs from a smaller one in memory alone."""
    target = part("ecp5-85f")
    found = tune(read_network("digits", zoo=True).graph, target, Memory(64.0), target.megahertz)
    for one in found:
        for other in found:
            larger = one.taken.memory_bytes > other.taken.memory_bytes
            if larger and one.taken.multipliers >= other.taken.multipliers:
                assert one.seconds < other.seconds / 1.01


def test_wrong_parts_and_files_are_one_line(tmp_path: Path) -> None:
    result = run("tune", "digits", "--device", "virtex-2")
    assert result.exit_code == 1 and "no part 'virtex-2' in the table; there are u250, " in result.stderr
    result = run("estimate", "digits", "--npu", str(tmp_path / "none.json"))
    assert result.exit_code == 1 and "none.json': there is no such file" in result.stderr
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"input_lanes": 8}')
    result = run("estimate", "digits", "--npu", str(wrong))
    assert result.exit_code == 1 and "wrong.json is no NPU configuration: 'bank_bytes'" in result.stderr
