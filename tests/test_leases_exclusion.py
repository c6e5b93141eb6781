"""However many want an NPU, and however they end, it has one holder at a time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Each round: take an NPU, leave a mark in it, see that it is one's own still, remove it. A mark of a process that
# was killed is nobody's; one of a process that lives is a second holder.
PROGRAM = """
import os, sys, time
from pathlib import Path
from fieldwave.leases import acquire

marks, rounds, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
for _ in range(rounds):
    with acquire("rtl", name, "wait") as lease:
        mark = marks / lease.slot.name
        try:
            other = int(mark.read_text())
        except (FileNotFoundError, ValueError):
            other = 0
        if other and Path(f"/proc/{other}").exists() and " Z " not in Path(f"/proc/{other}/stat").read_text():
            sys.exit(f"{lease.slot.name} has two holders: {other} and {os.getpid()}")
        mark.write_text(str(os.getpid()))
        time.sleep(0.001)
        if mark.read_text() != str(os.getpid()):
            sys.exit(f"{lease.slot.name} was taken from {os.getpid()}")
        mark.unlink()
print("done")
"""


def hammer(folder: Path, *, processes: int, rounds: int, kills: int) -> list[str]:
    """What the processes say that were not killed; they compete for two NPUs."""
    (folder / "machine.toml").write_text("rtl = 2\n")
    (folder / "marks").mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder / "marks"), str(rounds), f"s{index}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(processes)
    ]
    chance = random.Random(1)
    for child in started[:kills]:
        time.sleep(chance.uniform(0.05, 0.5))
        child.send_signal(signal.SIGKILL)
    try:
        said = [child.communicate(timeout=300)[0].strip() for child in started]
    finally:
        for child in started:
            child.kill()
    return said[kills:]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)


def test_an_npu_has_one_holder_at_a_time(tmp_path: Path) -> None:
    assert hammer(tmp_path, processes=4, rounds=10, kills=1) == ["done"] * 3


@pytest.mark.slow
def test_an_npu_has_one_holder_at_a_time_for_long(tmp_path: Path) -> None:
    assert hammer(tmp_path, processes=16, rounds=100, kills=8) == ["done"] * 8
