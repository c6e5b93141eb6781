"""docs/boards.md keeps its word: its commands exist, its boards are those that there are."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from fieldwave.boards import BOARDS
from fieldwave.cli import app

TEXT = (Path(__file__).parent.parent / "docs" / "boards.md").read_text()


def test_the_commands_and_their_options_exist() -> None:
    commands = set(re.findall(r"fieldwave (bitstream [a-z]+)([^#|`\n]*)", TEXT))
    assert {command for command, _ in commands} == {"bitstream boards", "bitstream build", "bitstream program"}
    for command, arguments in commands:
        shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
        for option in re.findall(r"--[a-z]+(?:-[a-z]+)*", arguments):
            assert option in shown, f"{command} {option}"


def test_the_boards_are_those_that_there_are() -> None:
    listed = re.findall(r"\| `(\S+)` \| (LFE\S+), speed grade (\d) \| (\d+) MiB (\w+), (\d+) bits", TEXT)
    known = [one for one in BOARDS.values() if one.part]
    assert listed == [
        (
            one.name,
            one.part.rpartition("-")[0],
            one.part.rpartition("-")[2][0],
            str(one.dram.bytes >> 20),
            one.dram.kind.upper(),
            str(one.dram.bits),
        )
        for one in known
    ]
