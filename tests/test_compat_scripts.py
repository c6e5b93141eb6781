"""Whole scripts of the retired service, unchanged: the tutorial, object detection, transfer learning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.containers import needs_base
from tests.tutorial_script import DOCUMENT, blocks, script

pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install tensorflow-cpu")

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
PHOTOS = HERE / "data" / "images"
needs_document = pytest.mark.skipif(
    not DOCUMENT.exists(), reason="the tutorial's document is not part of this clone"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the photographs that the scripts name, and a folder of them to calibrate with."""
    needs_base()
    shutil.copytree(PHOTOS, tmp_path / "calibration", ignore=shutil.ignore_patterns("*.txt", "*.md"))
    for photo in PHOTOS.glob("*.jpg"):
        shutil.copy(photo, tmp_path)
    return tmp_path


def run(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    # A home of its own: scripts write to ~/models. The cache stays, with its base image and wheels.
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    environment = {**os.environ, "HOME": str(folder), "XDG_CACHE_HOME": cache}
    result = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, f"{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result


def legacy(folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "fieldwave", "legacy", "run", *options)


def check_nothing_is_left(folder: Path) -> None:
    for kind in ("services", "models", "images"):
        listed = run(folder, "-m", "fieldwave", kind, "list", "--json")
        assert listed.stdout == "[]\n", kind


@needs_document
def test_the_tutorial(folder: Path) -> None:
    assert len(blocks()) == 17
    (folder / "tutorial.py").write_text(script())
    result = legacy(folder, "--explain", "tutorial.py")
    lines = result.stdout.splitlines()
    assert lines[:4] == [folder.name, "fieldwave", "local", "00000000-0000-0000-0000-000000000000"]
    assert lines[4:9] == [
        "(?, 224, 224, 3)",
        "1.1.2",
        "brainwave_target_node_1_Version_0.1:0",
        "(?, 1, 1, 2048)",
        'Tensor("classifier/resnet_v1_50/predictions/Softmax:0", shape=(?, 1000), dtype=float32)',
    ]
    assert lines[10:14] == [
        "Placeholder:0",
        "classifier/resnet_v1_50/predictions/Softmax:0",
        "Registering model resnet50",
        "Successfully registered: \tresnet50\tNone\t1",
    ]
    converted = (
        r"\nSuccessfully converted:  resnet50\.1\.accelonnx aml://asset/[0-9a-f]{64} 1 resnet50\.1\.accelonnx:1 "
    )
    assert re.search(converted, result.stdout)
    assert re.search(
        r"\nresnet50-image\(v\.1 \[Succeeded\]\) stored at localhost/fieldwave/resnet50-image:1-", result.stdout
    )
    assert "\nHealthy: my-aks-service\n" in result.stdout
    top = re.findall(r"\n(.+) confidence: (\S+)(?=\n)", result.stdout)
    assert len(top) == 5 and sorted((float(score) for _, score in top), reverse=True) == [float(s) for _, s in top]
    explained = re.findall(r"\btutorial\.py:\d+: (\w+)", result.stderr)
    assert explained == [
        "Workspace", "preprocess_array", "QuantizedResnet50", "model", "model", "model",
        "Model", "Model", "AccelOnnxConverter", "convert_request", "convert_request",
        "AccelContainerImage", "Image", "image", "Image", "AksCompute", "ComputeTarget", "compute_target",
        "AksWebservice", "Webservice", "service", "PredictionClient", "client",
        "service", "compute_target", "image", "model", "model",
    ]  # fmt: skip
    check_nothing_is_left(folder)


@needs_document
def test_natively_the_tutorials_road_gives_the_same_bytes(folder: Path) -> None:
    scored = "# map results [class_id]"
    text = script()
    assert text.count(scored) == 1
    (folder / "tutorial.py").write_text(
        text.replace(scored, f"import numpy\nnumpy.save('legacy.npy', results)\n{scored}")
    )
    legacy(folder, "tutorial.py")
    native = HERE.parent / "examples" / "tutorial_natively.py"
    run(folder, native, "snowleopardgaze.jpg", "native.npy")
    scores = np.load(folder / "legacy.npy")
    assert scores.shape == (1000,) and abs(scores.sum() - 1) < 1e-4
    assert scores.tobytes() == np.load(folder / "native.npy").tobytes()
    check_nothing_is_left(folder)


def test_object_detection(folder: Path) -> None:
    result = legacy(folder, HERE / "legacy_scripts" / "object_detection.py")
    shapes = [
        (1, g, g, a, last) for last in (21, 4) for g, a in ((37, 4), (19, 6), (10, 6), (5, 6), (3, 4), (1, 4))
    ]
    assert f"Scored 12 outputs: {shapes}\n" in result.stdout
    assert re.search(r"\nfound \d+ True 4\n$", result.stdout)
    check_nothing_is_left(folder)


def test_transfer_learning(folder: Path) -> None:
    pytest.importorskip("tf_keras", reason="needs tf-keras: pip install --no-deps tf-keras")
    result = legacy(folder, HERE / "legacy_scripts" / "transfer_learning.py")
    assert "\nloss went down: True\ntrained accuracy: 1.0\n" in result.stdout
    marks = re.findall(r"\n(?:cat|dog)_\d+\.jpg (CORRECT|WRONG)(?=\n)", result.stdout)
    assert len(marks) == 8 and marks.count("CORRECT") >= 6
    assert "\nnear the trained: True\n" in result.stdout
    check_nothing_is_left(folder)
