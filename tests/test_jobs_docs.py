"""docs/jobs.md keeps its word: its Python runs as it stands, its commands and their options exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import fieldwave
from fieldwave import zoo
from fieldwave.cli import app
from fieldwave.workspace import Workspace

TEXT = (Path(__file__).parent.parent / "docs" / "jobs.md").read_text()


def test_the_python_runs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(zoo.digits_images().calibration_images[:4]):
        (tmp_path / "photos" / f"{index}.png").write_bytes(zoo.digit_png(pixels))
    (tmp_path / "digits.onnx").write_bytes(zoo.to_onnx(*zoo.load("digits", "")).SerializeToString())
    source = Workspace.create(tmp_path).registry.register(tmp_path / "digits.onnx", "digits")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert finished.returncode == 0, finished.stderr
    made, job = finished.stdout.splitlines()
    assert made == f"digits-int8:1 digits:1@{source.digest} {{'team': 'vision'}}"
    assert job.split()[1] == "Succeeded"


def test_the_commands_exist() -> None:
    commands = [
        line.split() for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) == 9
    for words in commands:
        path = words[1:2] if words[1] == "convert" else words[1:3]
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in shown, f"{' '.join(path)} has no {option}"
        assert "Example" in shown
