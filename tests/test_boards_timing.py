"""nextpnr's report, read."""

from __future__ import annotations

import json
from pathlib import Path

from fieldwave.boards.timing import read_report

REPORT = {
    "critical_paths": [
        {
            "from": "posedge $glbnet$sys_clk",
            "to": "posedge $glbnet$sys_clk",
            "path": [
                {"type": "clk-to-q", "delay": 0.525, "from": {"cell": "a"}, "to": {"cell": "a"}},
                {"type": "routing", "delay": 9.25, "from": {"cell": "a"}, "to": {"cell": "b"}, "net": "x"},
            ],
        },
        {"from": "async", "to": "posedge $glbnet$sys_clk", "path": []},
    ],
    "fmax": {
        "$glbnet$eth_rx": {"achieved": 150.0, "constraint": 125.0},
        "$glbnet$sys_clk": {"achieved": 61.5, "constraint": 62.5},
    },
    "utilization": {
        "DP16KD": {"available": 208, "used": 182},
        "TRELLIS_COMB": {"available": 83640, "used": 34000},
        "DCCA": {"available": 70, "used": 3},
    },
}


def test_a_report_says_what_is_used_and_which_clock_is_late(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT))
    placed = read_report(path)
    assert placed.cells == {"logic": (34000, 83640), "block memories": (182, 208)}
    assert [(clock.name, clock.met) for clock in placed.clocks] == [("sys_clk", False), ("eth_rx", True)]
    assert not placed.met
    assert placed.clocks[0].path == ("clk-to-q 0.53 ns a -> a", "routing 9.25 ns a -> b")
