"""The tensors of the test images are those that TensorFlow computes, bit for bit."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fieldwave.preprocess import Preprocessing, preprocess

TESTS = Path(__file__).parent
FIXTURE = json.loads((TESTS / "data" / "preprocess_tensorflow.json").read_text())


@pytest.mark.parametrize("case", FIXTURE["cases"], ids=lambda case: f"{case['image']}-{case['spec']}")
def test_equals_tensorflow(case: dict[str, Any]) -> None:
    values = FIXTURE["specs"][case["spec"]]
    spec = Preprocessing(**values | ({"mean": tuple(values["mean"])} if "mean" in values else {}))
    result = preprocess((TESTS / "data" / case["image"]).read_bytes(), spec)
    flat = result.ravel()
    assert [float(flat[flat.size * eighths // 8]) for eighths in (1, 3, 5, 7)] == case["samples"]
    assert hashlib.sha256(result.tobytes()).hexdigest() == case["sha256"]


def test_every_test_image_is_compared() -> None:
    images = {
        str(p.relative_to(TESTS / "data"))
        for d in ("images", "preprocess")
        for p in (TESTS / "data" / d).iterdir()
    }
    assert {case["image"] for case in FIXTURE["cases"]} == images


@pytest.mark.slow
def test_tensorflow_still_computes_the_fixture(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("tensorflow is not installed: pip install 'tensorflow-cpu==2.21.*'")
    output = tmp_path / "fixture.json"
    script = TESTS / "reference" / "preprocess_tensorflow.py"
    subprocess.run([sys.executable, script, output], check=True, capture_output=True, timeout=300)
    computed = json.loads(output.read_text())
    assert computed["specs"] == FIXTURE["specs"]
    assert computed["cases"] == FIXTURE["cases"]
