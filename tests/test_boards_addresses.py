"""The addresses that the driver uses are those that LiteX gives: checked on the board that has all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("litex_boards", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")

from fieldwave.boards import addresses
from fieldwave.devices.board import leveling

REGISTERS = """
import json
from fieldwave.boards import board
from fieldwave.boards.ecp5 import build_soc
one = board("ecpix5-85f")
soc = build_soc(one, one.configuration, one.megahertz)
soc.finalize()
found = {}
for part, region in soc.csr_regions.items():
    address = region.origin
    for register in region.obj if isinstance(region.obj, list) else ():
        found[f"{part}.{register.name}"] = address
        address += 4 * -(-register.size // 32)
    found[part] = region.origin
from fieldwave.boards.soc import leveling
found["says"] = leveling(soc.ddrphy.settings)
print("registers", json.dumps(found))
"""


def test_the_addresses_are_litexs(tmp_path: Path) -> None:
    source = Path(addresses.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", REGISTERS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("registers ")), None)
    assert line is not None, done.stderr
    said = json.loads(line.removeprefix("registers "))
    assert said["ctrl.reset"] == addresses.RESET and said["ctrl.bus_errors"] == addresses.BUS_ERRORS
    assert said["identifier_mem"] == addresses.IDENTIFIER and said["witness.crc"] == addresses.WITNESS
    facts = ("clock", "memory", "starting", "leveling")
    assert [said[f"facts.{name}"] for name in facts] == [
        addresses.CLOCK, addresses.MEMORY_BYTES, addresses.STARTING, addresses.LEVELING,
    ]  # fmt: skip
    assert said["sdram.dfii_control"] == addresses.DFI
    for phase in range(2):
        first = leveling._phase(phase)
        for name, word in (
            ("command", leveling._COMMAND), ("command_issue", leveling._COMMAND + 1),
            ("address", leveling._ADDRESS), ("baddress", leveling._ADDRESS + 1), ("wrdata", leveling._WRITTEN),
            ("rddata", leveling._READ_BACK),
        ):  # fmt: skip
            assert said[f"sdram.dfii_pi{phase}_{name}"] == first + 4 * word
    for name, index in (
        ("dly_sel", leveling._SELECT), ("rdly_dq_rst", leveling._DELAY_RESET), ("rdly_dq_inc", leveling._DELAY_UP),
        ("rdly_dq_bitslip_rst", leveling._SLIP_RESET), ("rdly_dq_bitslip", leveling._SLIP_UP),
        ("burstdet_clr", leveling._STROBE_CLEAR), ("burstdet_seen", leveling._STROBE_SEEN),
    ):  # fmt: skip
        assert said[f"ddrphy.{name}"] == addresses.PHY + 4 * index
    assert leveling.Phy.from_word(said["says"]) == leveling.Phy(2, 2, 0, 1, 8, 4)
