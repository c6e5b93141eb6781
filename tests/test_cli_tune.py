"""``fieldwave tune``: what fits a part, and which of it is fastest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fieldwave.cli.app import app
from fieldwave.compiler.estimate import Memory
from fieldwave.compiler.tune import candidates
from fieldwave.npu import configuration
from fieldwave.npu.parts import part
from fieldwave.npu.resources import fits


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_the_best_configuration_is_one_for_other_commands(tmp_path: Path) -> None:
    file = tmp_path / "best.json"
    result = run("tune", "digits", "--device", "ecp5-85f", "--output", str(file), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    best, target = configuration(str(file)), part("ecp5-85f")
    assert fits(best, target) and best.multipliers == 256
    assert list(best.bank_bytes) == found[0]["configuration"]["bank_bytes"]
    times = [one["milliseconds"] for one in found]
    assert times == sorted(times) and len(times) == 5
    assert found[0]["multipliers_taken"] <= target.multipliers
    assert found[0]["clock_mhz"] == 60 and found[0]["bandwidth_gb_per_s"] == 1.6
    again = run("estimate", "digits", "--npu", str(file), "--clock", "60", "--bandwidth", "1.6", "--json")
    assert json.loads(again.stdout)[0]["cycles"] == found[0]["cycles"]


def test_the_table_counts_what_the_part_has() -> None:
    result = run("tune", "digits", "--device", "ecp5-85f", "--top", "1", "--clock", "50", "--bandwidth", "0.4")
    assert result.exit_code == 0, result.output
    head, row = result.stdout.splitlines()
    assert head.endswith("EBR") and row.endswith("of 208") and " of 156 " in row
    assert "Lattice ECP5-85F at 50 MHz and 0.4 GB/s" in result.stderr


def test_candidates_fit_and_differ() -> None:
    for target in (part(name) for name in ("ecp5-85f", "kv260", "u250")):
        found = list(candidates(target, Memory(64.0), lookup=True, prescale=True))
        assert found and all(fits(one, target) for one in found)
        assert len(set(found)) == len(found)
        sizes = [one.multipliers for one in found]
        assert sizes == sorted(sizes, reverse=True)


def test_wrong_parts_and_files_are_one_line(tmp_path: Path) -> None:
    result = run("tune", "digits", "--device", "virtex-2")
    assert result.exit_code == 1 and "no part 'virtex-2' in the table; there are u250, " in result.stderr
    result = run("estimate", "digits", "--npu", str(tmp_path / "none.json"))
    assert result.exit_code == 1 and "none.json': there is no such file" in result.stderr
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"input_lanes": 8}')
    result = run("estimate", "digits", "--npu", str(wrong))
    assert result.exit_code == 1 and "wrong.json is no NPU configuration: 'bank_bytes'" in result.stderr
