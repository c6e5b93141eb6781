"""A full disk, a broken one, a lost connection and kill -9 at the steps of what changes a workspace."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldwave.errors import StorageError
from fieldwave.files import write_atomically
from fieldwave.processes.lock import is_held
from fieldwave.store import LayoutStore
from tests import faults, oci_registry

ROADS = {"register": 80, "notes": 90, "delete": 100, "push": 120, "push-version": 80, "build": 120, "deploy": 40}
"""How many faults there are at least in each road."""


def run(road: str, folder: Path, every: int = 1) -> dict[str, int]:
    """Put faults into a road, in a process of its own that has no threads; what it counted."""
    if road.startswith("push") and oci_registry.PROGRAM is None:
        pytest.skip(oci_registry.MISSING)
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(Path(sys.modules["fieldwave"].__path__[0]).parent), str(root)])
    command = [sys.executable, "-m", "tests.fault_roads", road, str(folder), "--every", str(every)]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("road", ROADS)
def test_no_fault_tears_anything(road: str, tmp_path: Path) -> None:
    counted = run(road, tmp_path / "faults")
    assert counted["torn"] == 0
    assert counted["faults"] >= ROADS[road]


@pytest.mark.parametrize(("road", "every"), [("register", 11), ("build", 60), ("push", 80), ("deploy", 20)])
def test_a_few_faults_tear_nothing(road: str, every: int, tmp_path: Path) -> None:
    counted = run(road, tmp_path / "faults", every)
    assert (counted["torn"], counted["faults"] > 1) == (0, True)


def test_each_call_that_changes_a_file_is_counted(tmp_path: Path) -> None:
    outcome = faults.run(lambda: write_atomically(tmp_path / "a", b"data"), tmp_path)
    calls = [point for point in outcome.points if point != "open"]
    assert (outcome.end, calls) == ("done", ["write", "fsync", "rename", "fsync"])


@pytest.mark.parametrize(
    ("kind", "fault", "reason"),
    [
        ("open", "full", "No space left on device"),
        ("write", "full", "No space left on device"),
        ("write", "full halfway", "No space left on device"),
        ("fsync", "broken", "Input/output error"),
        ("rename", "broken", "Input/output error"),
    ],
)
def test_a_fault_leaves_the_old_file(kind: str, fault: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def write() -> None:
        write_atomically(tmp_path / "a", b"data")

    at = faults.run(lambda: write_atomically(tmp_path / "b", b"data"), tmp_path).points.index(kind)
    outcome = faults.run(write, tmp_path, at, fault)
    text = f"cannot write {tmp_path}/a: {reason}; nothing was left behind"
    assert (outcome.end, outcome.text) == ("refused", text)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old", "b": b"data"}


def test_half_a_write_is_on_the_disk_when_the_writer_is_killed(tmp_path: Path) -> None:
    """The faults are real: who writes in place is torn."""
    (tmp_path / "a").write_bytes(b"old")
    outcome = faults.run(lambda: (tmp_path / "a").write_bytes(b"data"), tmp_path, 1, "kill halfway")
    assert (outcome.end, (tmp_path / "a").read_bytes()) == ("killed", b"da")


def test_a_lock_that_cannot_be_looked_at_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    outcome = faults.run(lambda: is_held(tmp_path / "lock"), tmp_path, 0, "broken")
    assert (outcome.end, outcome.text) == (
        "refused",
        f"cannot look at the lock {tmp_path}/lock: Input/output error",
    )


def test_a_store_that_cannot_be_locked_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(StorageError) as error:
        LayoutStore(tmp_path).untag("models/digits", "1")
    assert str(error.value) == f"cannot lock {tmp_path}/.lock: No locks available"
