"""docs/networks.md: its snippets run, its tables are the committed figures'."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest

from fieldwave import zoo

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "networks.md").read_text()


def test_the_table_of_networks_is_true() -> None:
    for name in zoo.names():
        network = zoo.network(name)
        (row,) = (line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |"))
        _, _, _, _, features, output, macs, weights, _ = (cell.strip() for cell in row.split("|"))
        assert network.features in features
        if network.task == "classification":
            assert network.outputs[0].name in output
        digits = 0 if network.macs < 1e9 else 2
        unit = ("M", 1e6) if network.macs < 1e9 else ("G", 1e9)
        assert macs == f"{network.macs / unit[1]:.{digits}f} {unit[0]}"
        count = sum(prod(shape) for shape in network.weight_shapes.values())
        assert weights == (f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k")


def test_the_table_of_the_ten_models_is_that_of_the_figures() -> None:
    pytest.importorskip("onnx")
    source = ROOT / "benchmarks" / "networks.py"
    spec = importlib.util.spec_from_file_location("networks_benchmark", source)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    figures = json.loads(benchmark.RESULTS.read_text())
    assert set(figures) == set(benchmark.NAMES)
    assert benchmark.BEGIN + benchmark.tables(figures) + benchmark.END in DOCUMENT
    assert all(figure["int8"]["bytes_differing"] == 0 for figure in figures.values())


@pytest.mark.slow
def test_the_snippets_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    code = "\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert finished.stdout.splitlines() == [
        "resnet_v1_50/pool5:0 classifier/resnet_v1_50/predictions/Softmax:0 snow leopard",
        "['resnet_v1_50/logits/weights:0', 'resnet_v1_50/logits/biases:0']",
        "featurizer.resnet_v1_50/conv1.weight",
        "(2,) (1, 1, 2048, 2)",
        "snow leopard person",
    ]
    assert (tmp_path / "resnet50.onnx").stat().st_size > 100_000_000
