"""A bitstream of a whole board, by the real tools: many minutes, so `make bitstream-test` only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldwave.boards import board

IDCODE = bytes.fromhex("41113043")
"""Of the LFE5U-85F, as its JTAG port tells it (Lattice FPGA-TN-02039)."""
PREAMBLE = bytes.fromhex("ffffbdb3")


@pytest.mark.skipif(
    not os.environ.get("FIELDWAVE_TEST_BITSTREAM"), reason="takes many minutes; make bitstream-test runs it"
)
def test_the_ulx3s_fits_and_meets_its_clock(tmp_path: Path) -> None:
    file = tmp_path / "ulx3s.bit"
    command = ["bitstream", "build", "--board", "ulx3s-85f", "--output", str(file), "--json"]
    done = subprocess.run([sys.executable, "-m", "fieldwave", *command], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0
    told = json.loads(done.stdout)
    print(done.stdout)
    assert told["fingerprint"] == f"{board('ulx3s-85f').configuration.fingerprint:016x}"
    assert all(clock["reached_mhz"] >= clock["asked_mhz"] for clock in told["clocks"])
    assert all(cell["used"] <= cell["there"] for cell in told["cells"].values())
    assert board("ulx3s-85f").megahertz in {clock["asked_mhz"] for clock in told["clocks"]}
    bits = file.read_bytes()
    assert PREAMBLE in bits[:1024]
    assert IDCODE in bits[:1024]
    assert json.loads(file.with_suffix(".json").read_text()) == told
