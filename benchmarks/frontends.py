"""From a TensorFlow SavedModel to a package: wall time and peak memory for ResNet-50.

Run from the project's root, with the package and its extra ``tensorflow`` installed::

    .venv/bin/python benchmarks/frontends.py --write

A process of its own writes Keras' ResNet-50 with random weights as a SavedModel; another converts it with the
command, on 16 photographs, and is measured. ``--write`` replaces ``benchmarks/results/frontends.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PHOTOS = ROOT / "tests" / "data" / "images"
RESULTS = ROOT / "benchmarks" / "results" / "frontends.json"
IMAGES = 16

EXPORT = """
import sys
import keras
keras.utils.set_random_seed(0)
keras.applications.ResNet50(weights=None).export(sys.argv[1], verbose=False)
"""


def measured(command: list[str]) -> dict[str, float]:
    """Wall seconds and peak memory of a whole process."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_megabytes": round(usage.ru_maxrss / 1024),
    }


def saved_model_to_package(folder: Path) -> dict[str, float]:
    """Keras' ResNet-50, with the preprocessing that Keras' users give it outside of the model."""
    saved, photos, package = folder / "saved", folder / "photos", folder / "resnet50.zip"
    subprocess.run([sys.executable, "-c", EXPORT, str(saved)], check=True, capture_output=True)
    photos.mkdir()
    images = sorted(PHOTOS.glob("*.jpg"))
    for index in range(IMAGES):
        (photos / f"{index:02d}.jpg").write_bytes(images[index % len(images)].read_bytes())
    command = [sys.executable, "-m", "fieldwave", "convert", str(saved), "--calibration", str(photos)]
    command += ["--order", "BGR", "--mean", "123.68,116.779,103.939", "--output", str(package)]
    return measured(command) | {"package_megabytes": round(package.stat().st_size / 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the committed figures")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 1),
            "tf2onnx": version("tf2onnx"),
        }
    }
    with tempfile.TemporaryDirectory() as folder:
        figures["saved_model_to_package_resnet50"] = saved_model_to_package(Path(folder))
    text = json.dumps(figures, indent=2) + "\n"
    print(text, end="")
    if arguments.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
