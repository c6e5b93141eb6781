from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.devices.rewrite import float_additions, float_averages, uint8_weights
from fieldwave.devices.selftest import selftest_graph, selftest_inputs
from fieldwave.devices.session import open_session
from fieldwave.graph import Graph, to_onnx
from tests import networks
from tests.qoperators import Case, activations, case, scale, zero

REWRITES = [uint8_weights, float_additions, float_averages]
exponents, zeros, seeds = st.integers(-8, 0), st.sampled_from([0, 128]), st.integers(0, 2**32 - 1)


def run(graph: Graph, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    names = [value.name for value in graph.outputs]
    return [
        np.asarray(value)
        for value in open_session(to_onnx(graph).SerializeToString(), threads=1).run(names, inputs)
    ]


def assert_same(graph: Graph, inputs: dict[str, NDArray[Any]], rewrite: Callable[[Graph], Graph]) -> None:
    for before, after in zip(run(graph, inputs), run(rewrite(graph), inputs), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("rewrite", REWRITES)
def test_the_selftest_keeps_its_bits(rewrite: Callable[[Graph], Graph]) -> None:
    assert_same(selftest_graph(), selftest_inputs(), rewrite)


@pytest.mark.parametrize("rewrite", REWRITES)
def test_a_network_with_a_free_batch_dimension_keeps_its_bits(rewrite: Callable[[Graph], Graph]) -> None:
    assert_same(networks.network(), {networks.INPUT: networks.images(3)}, rewrite)


@pytest.mark.parametrize("rewrite", REWRITES)
def test_tensors_keep_their_names_and_the_original_its_nodes(rewrite: Callable[[Graph], Graph]) -> None:
    graph = networks.network()
    before = graph.nodes
    assert set(graph.producers()) <= set(rewrite(graph).producers())
    assert graph.nodes == before


def test_weights_are_uint8_with_the_zero_point_in_the_middle() -> None:
    graph = networks.network()
    rewritten = uint8_weights(graph)
    for node, old in zip(rewritten.nodes, graph.nodes, strict=True):
        if node.op in ("QLinearConv", "QGemm"):
            weights, zero_points = (rewritten.constants[node.inputs[index]] for index in (3, 5))
            assert (weights.dtype, zero_points.dtype) == (np.uint8, np.uint8)
            np.testing.assert_array_equal(zero_points, 128)
            np.testing.assert_array_equal(weights.astype(int) - 128, graph.constants[old.inputs[3]])
    assert not [name for name, value in rewritten.constants.items() if value.dtype == np.int8]


def test_what_has_other_weights_already_is_left_alone() -> None:
    once = uint8_weights(networks.network())
    assert uint8_weights(once).nodes == once.nodes


def test_rewritten_graphs_have_none_of_the_operators_left() -> None:
    assert "QLinearAdd" not in {node.op for node in float_additions(selftest_graph()).nodes}
    assert "QLinearGlobalAveragePool" not in {node.op for node in float_averages(selftest_graph()).nodes}


@settings(deadline=None)
@given(exponents, exponents, exponents, zeros, zeros, zeros)
def test_every_pair_of_bytes_adds_up_the_same(a: int, b: int, y: int, az: int, bz: int, yz: int) -> None:
    every = np.arange(256, dtype=np.uint8)
    inputs = {
        "a": np.repeat(every, 256).reshape(256, 256),
        "as": scale(a),
        "az": zero(az),
        "b": np.tile(every, 256).reshape(256, 256),
        "bs": scale(b),
        "bz": zero(bz),
        "ys": scale(y),
        "yz": zero(yz),
    }
    addition = case("QLinearAdd", inputs, list(inputs), "com.microsoft")
    assert_golden(addition, float_additions)


@settings(deadline=None)
@given(seeds, exponents, exponents, zeros, zeros, st.integers(1, 9), st.integers(1, 9))
def test_averages_of_any_map_are_the_same(seed: int, x: int, y: int, xz: int, yz: int, h: int, w: int) -> None:
    maps = activations(np.random.default_rng(seed), 2, 40, h, w)
    inputs = {"x": maps, "xs": scale(x), "xz": zero(xz), "ys": scale(y), "yz": zero(yz)}
    average = case("QLinearGlobalAveragePool", inputs, list(inputs), "com.microsoft", channels_last=0)
    assert_golden(average, float_averages)


def test_an_average_over_maps_whose_channels_come_last() -> None:
    maps = activations(np.random.default_rng(0), 2, 7, 5, 24)
    inputs = {"x": maps, "xs": scale(0), "xz": zero(0), "ys": scale(-1), "yz": zero(128)}
    average = case("QLinearGlobalAveragePool", inputs, list(inputs), "com.microsoft", channels_last=1)
    assert_same(average.graph, average.inputs, float_averages)


def assert_golden(one: Case, rewrite: Callable[[Graph], Graph]) -> None:
    (result,) = run(rewrite(one.graph), one.inputs)
    np.testing.assert_array_equal(result, golden.run(one.graph, one.inputs)["y"])


def test_fusion_back_to_the_quantized_operator_is_off() -> None:
    """Else ONNX Runtime would put the very kernel back that the rewrite avoids.

    With scales that are no powers of two, the two ways round differently, which shows which one ran.
    """
    every = np.arange(256, dtype=np.uint8)
    a, b = np.repeat(every, 256).reshape(256, 256), np.tile(every, 256).reshape(256, 256)
    tenth, fifth = (np.asarray(value, np.float32) for value in (0.1, 0.2))
    inputs = {"a": a, "as": tenth, "az": zero(0), "b": b, "bs": tenth, "bz": zero(0), "ys": fifth, "yz": zero(128)}
    addition = case("QLinearAdd", inputs, list(inputs), "com.microsoft")
    in_float = golden.quantize_linear(a * tenth + b * tenth, np.float32(0.2), 128)
    rewritten = float_additions(addition.graph)
    (ours,) = run(rewritten, addition.inputs)
    np.testing.assert_array_equal(ours, in_float)
    model = to_onnx(rewritten).SerializeToString()
    fused = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert np.any(fused.run(None, addition.inputs)[0] != in_float)
