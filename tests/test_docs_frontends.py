"""docs/frontends.md keeps its word: its Python runs as it stands, its options exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import fieldwave
from fieldwave.zoo import digit_png, digits_images

TEXT = (Path(__file__).parent.parent / "docs" / "frontends.md").read_text()
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1]), "COLUMNS": "200"}


def test_the_python_runs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for index, pixels in enumerate(digits_images().calibration_images[:4]):
        (tmp_path / "photos" / f"{index}.png").write_bytes(digit_png(pixels))
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("Preprocessing(height=8, width=8, order='GRAY', resize='stretch'")
    assert (tmp_path / "digits.zip").is_file()


def test_the_options_exist() -> None:
    command = [sys.executable, "-m", "fieldwave", "convert", "--help"]
    shown = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    for option in set(re.findall(r"(--[a-z]+(?:-[a-z]+)*)", TEXT)):
        assert option in shown, option
