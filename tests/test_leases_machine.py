from __future__ import annotations

from pathlib import Path

import pytest

from fieldwave.errors import InputError, StorageError
from fieldwave.leases import Machine, Slot, read_machine
from fieldwave.leases.machine import machine_file, to_given

BOARD = Slot("kv260-0", "board", ("/dev/uio4", "/dev/udmabuf0"), "192.168.1.50:1234", 1)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "machine.toml"
    monkeypatch.setenv("FIELDWAVE_MACHINE", str(path))
    monkeypatch.delenv("FIELDWAVE_NPUS", raising=False)
    return path


def test_a_machine_that_nobody_has_described_has_no_boards_and_counts_nothing(file: Path) -> None:
    assert machine_file() == file
    assert read_machine() == Machine()
    assert read_machine().slots == () == read_machine().advertised


def test_a_described_machine(file: Path) -> None:
    file.write_text(
        "rtl = 2\ncpu = 1\n[boards.kv260-0]\n"
        'files = ["/dev/uio4", "/dev/udmabuf0"]\naddress = "192.168.1.50:1234"\nnuma = 1\n[boards.plain]\n'
    )
    machine = read_machine()
    assert machine == Machine((BOARD, Slot("plain", "board")), rtl=2, cpu=1)
    assert [slot.name for slot in machine.slots] == ["kv260-0", "plain", "rtl-0", "rtl-1"]
    assert [slot.device for slot in machine.slots] == ["board:kv260-0", "board:plain", "rtl", "rtl"]
    assert machine.advertised == machine.boards
    file.write_text("cpu = 2\n")
    assert read_machine().advertised == (Slot("cpu-0", "cpu"), Slot("cpu-1", "cpu"))
    assert read_machine().slots == ()


def test_a_container_has_what_it_was_given(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("rtl = 2\n")
    monkeypatch.setenv("FIELDWAVE_NPUS", to_given((BOARD, Slot("cpu-3", "cpu"))))
    machine = read_machine()
    assert machine.given == (BOARD, Slot("cpu-3", "cpu")) == machine.slots
    assert machine.advertised == ()
    assert read_machine(file).rtl == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rtl = -1", "rtl is -1, expected a number from 0 to 4096"),
        ("cpu = true", "cpu is True, expected a number from 0 to 4096"),
        ("gpu = 1", "'gpu' is unknown; it may say rtl, cpu, boards"),
        ("boards = 3", "boards is 3, expected tables such as [boards.kv260-0]"),
        ("boards.a = 3", "boards.a is 3, expected a table [boards.a]"),
        ("[boards.a]\nfile = 'x'", "'boards.a.file' is unknown; it may say files, address, numa"),
        ("[boards.a]\nfiles = ['dev/x']", "the files of a are ['dev/x'], expected a list of absolute paths"),
        ("[boards.a]\naddress = 7", "the address of a is 7, expected a text in quotes"),
        ("[boards.a]\nnuma = -1", "numa of a is -1, expected 0 or more"),
        (
            "[boards.rtl-7]",
            "'rtl-7' is no name for a board: up to 63 lower-case letters, digits and '-', a letter first, no '-' "
            "last, and not rtl-N or cpu-N",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_machine()
    assert str(caught.value) == f"{file}: {message}"


def test_a_file_that_is_no_toml_or_no_file(file: Path) -> None:
    file.write_text("rtl 2")
    with pytest.raises(InputError, match="it is no TOML: "):
        read_machine()
    file.unlink()
    file.mkdir()
    with pytest.raises(StorageError, match=f"cannot read {file}: Is a directory"):
        read_machine()


@pytest.mark.parametrize(
    "text",
    ["7", "[7]", "{", '[{"name": "../x", "kind": "board"}]', '[{"name": "a", "kind": "gpu"}]'],
)
def test_what_a_container_was_given_is_checked(file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FIELDWAVE_NPUS", text)
    with pytest.raises(InputError, match="FIELDWAVE_NPUS in the environment is wrong: "):
        read_machine()
