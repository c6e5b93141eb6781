"""The examples run as they stand, each from a framework to a served prediction."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fieldwave
from fieldwave.deploy import LocalTarget
from fieldwave.workspace import Workspace

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("script", "modules", "extra"),
    [
        ("onnx_to_service.py", ("onnx",), "convert"),
        ("pytorch_to_service.py", ("torch", "onnxscript"), "torch"),
        ("tensorflow_to_service.py", ("tensorflow", "tf2onnx"), "tensorflow"),
    ],
)
def test_from_framework_to_served_prediction(
    script: str, modules: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    if not all(find_spec(module) for module in modules):
        pytest.skip(f"needs {' and '.join(modules)}: pip install 'fieldwave[{extra}]'")
    (tmp_path / "fieldwave.toml").touch()
    environment = os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])}
    command = [sys.executable, EXAMPLES / script]
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    agreement = re.search(r"float and int8 agree on ([\d.]+)% of \d+ images", finished.stdout)
    served = re.search(r"served 60 digits.*: ([\d.]+)% right", finished.stdout)
    assert agreement is not None and float(agreement[1]) >= 98, finished.stdout
    assert served is not None and float(served[1]) >= 85, finished.stdout
    assert LocalTarget(Workspace(tmp_path)).list() == ()
