"""Boards on the command line: which are there, what they are, and a package on one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fieldwave.cli import app
from fieldwave.conversion import Conversion
from fieldwave.leases.ports import serial_ports
from fieldwave.npu import configuration
from fieldwave.zoo import digit_png, digits_images
from tests.board_model import Bus, SerialBoard

TINY = configuration("tiny")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SerialBoard]:
    board = SerialBoard(Bus(TINY))
    monkeypatch.setattr("fieldwave.cli.devices.serial_ports", lambda: (board.port,))
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(tmp_path / "machine.toml"))
    monkeypatch.setenv("FIELDWAVE_LEASES", str(tmp_path / "leases"))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    yield board
    board.unplug()


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_a_plugged_in_board(board: SerialBoard) -> None:
    code, out, _ = run("devices")
    assert (code, out.splitlines()[1].split()) == (0, [board.port, f"board:{board.port}", "free"])
    code, out, err = run("devices", "--identify", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)[0]["identity"] == f"model {TINY.fingerprint:016x} 50 MHz 1 MiB"
    board.bus.identity = b"\0"
    assert f"board {TINY.fingerprint:016x} 50 MHz 1 MiB" in run("devices", "--identify")[1]


def test_a_port_where_no_board_hangs(board: SerialBoard) -> None:
    board.to_host = lambda data: b"\0" * len(data)
    identity = json.loads(run("devices", "--identify", "--json")[1])[0]["identity"]
    assert (
        identity
        == f"at {board.port} answers no NPU, but only zeros; load its bitstream: fieldwave bitstream program"
    )


def test_a_package_on_a_board(board: SerialBoard, digits: Conversion, tmp_path: Path) -> None:
    image = tmp_path / "digit.png"
    image.write_bytes(digit_png(digits_images().heldout_images[0]))
    on_board = run("predict", str(digits.path), str(image), "--device", f"board:{board.port}")
    assert on_board == run("predict", str(digits.path), str(image))
    assert on_board[0] == 0
    assert board.bus.cycles == 1000
    code, out, err = run("predict", "localhost:1", str(image), "--device", "board:sim")
    assert (code, out) == (1, "")
    assert err == ("error: localhost:1 is a service and has its device already; leave out --device board:sim\n")


def test_serial_ports_on_usb(tmp_path: Path) -> None:
    for name in ("ttyUSB1", "ttyUSB0", "ttyACM0", "tty1", "ttyS0"):
        (tmp_path / name).touch()
    assert serial_ports(tmp_path) == ("/dev/ttyACM0", "/dev/ttyUSB0", "/dev/ttyUSB1")
