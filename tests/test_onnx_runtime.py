"""ONNX Runtime sends nothing home and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fieldwave.conversion import Conversion


def test_a_device_leaves_no_file_of_telemetry(digits: Conversion, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from fieldwave.devices import open_device\n"
        "from fieldwave.package import read_package\n"
        "with open_device('cpu') as device:\n"
        "    device.load(read_package(sys.argv[1]))\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment["TMPDIR"] = str(tmp_path)
    command = [sys.executable, "-c", code, str(digits.path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []
