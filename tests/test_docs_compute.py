"""docs/compute.md keeps its word: its settings and its Python run as they stand, its options exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import fieldwave
from fieldwave.cli import app
from fieldwave.leases import Slot
from fieldwave.leases.machine import parse_machine

TEXT = (Path(__file__).parent.parent / "docs" / "compute.md").read_text()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])}


def test_the_machines_file_is_read() -> None:
    (settings,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    machine = parse_machine(settings)
    assert (machine.rtl, machine.cpu) == (2, 4)
    assert machine.boards == (Slot("kv260-0", "board", ("/dev/uio4", "/dev/udmabuf0"), "192.168.1.50:1234", 0),)


def test_the_python_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    finished = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("cpu\n", "")


def test_the_commands_and_their_options_exist() -> None:
    commands = set(re.findall(r"fieldwave ((?:compute|services|device-plugin) [a-z]+|devices)([^|`\n]*)", TEXT))
    assert len(commands) > 6
    for command, arguments in commands:
        shown = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
        for option in re.findall(r"--[a-z]+(?:-[a-z]+)*", arguments):
            assert option in shown, f"{command} {option}"
