"""Every normative operator against ONNX Runtime, output by output."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fieldwave import golden
from fieldwave.errors import ModelError
from fieldwave.golden import Window
from fieldwave.graph import Graph, Node, Value
from tests.qoperators import Case, activations, case, scale, zero

ZERO_POINTS = st.sampled_from([0, 128])
EXPONENTS = st.integers(-7, 1)


def agree(one: Case) -> None:
    ours = golden.run(one.graph, one.inputs)["y"]
    theirs = one.by_onnxruntime()
    assert ours.dtype == theirs.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs)


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    group = draw(st.sampled_from([1, 1, 1, 2, 5]))
    depthwise = draw(st.booleans()) and group > 1
    share_in = 1 if depthwise else draw(st.integers(1, 40))
    share_out = 1 if depthwise else draw(st.integers(1, 24))
    kernel = [draw(st.integers(1, 5)), draw(st.integers(1, 5))]
    dilations = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    pads = [draw(st.integers(0, 3)) for _ in range(4)]
    size = [(k - 1) * d + 1 + draw(st.integers(0, 9)) for k, d in zip(kernel, dilations, strict=True)]
    maps = share_out * group
    inputs = {
        "x": activations(rng, draw(st.integers(1, 2)), share_in * group, *size),
        "xs": scale(draw(EXPONENTS)),
        "xz": zero(draw(ZERO_POINTS)),
        "w": rng.integers(-127, 128, (maps, share_in, *kernel)).astype(np.int8),
        "ws": rng.uniform(1e-4, 1e-2, maps).astype(np.float32),
        "wz": np.zeros(maps, np.int8),
        "ys": scale(draw(EXPONENTS)),
        "yz": zero(draw(ZERO_POINTS)),
        "b": rng.integers(-(2**17), 2**17, maps).astype(np.int32),
    }
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    return case(
        "QLinearConv", inputs, list(inputs), kernel_shape=kernel, dilations=dilations, pads=pads, strides=strides,
        group=group,
    )  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(convolutions())
def test_convolution_equals_onnxruntime(one: Case) -> None:
    agree(one)


def test_convolution_rounds_the_accumulator_above_two_to_the_24() -> None:
    """4608 taps of large values: the conversion to float32 rounds, and that rounding counts."""
    rng = np.random.default_rng(1)
    inputs = {
        "x": rng.integers(200, 256, (1, 512, 5, 5)).astype(np.uint8),
        "xs": scale(0), "xz": zero(0),
        "w": rng.integers(90, 128, (16, 512, 3, 3)).astype(np.int8),
        "ws": rng.uniform(1e-6, 4e-6, 16).astype(np.float32), "wz": np.zeros(16, np.int8),
        "ys": scale(0), "yz": zero(0), "b": np.arange(16, dtype=np.int32),
    }  # fmt: skip
    one = case("QLinearConv", inputs, list(inputs), kernel_shape=[3, 3])
    sums = golden.accumulate(inputs["x"], 0, inputs["w"], inputs["b"])
    assert sums.min() > 2**25
    agree(one)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 40), EXPONENTS, EXPONENTS, st.booleans())
def test_fully_connected_equals_onnxruntime(
    seed: int, depth: int, maps: int, xe: int, ye: int, transposed: bool
) -> None:
    rng = np.random.default_rng(seed)
    inputs = {
        "a": activations(rng, 2, depth), "as": scale(xe), "az": zero(int(rng.choice([0, 128]))),
        "b": rng.integers(-127, 128, (maps, depth) if transposed else (depth, maps)).astype(np.int8),
        "bs": rng.uniform(1e-4, 1e-2, maps).astype(np.float32), "bz": np.zeros(maps, np.int8),
        "c": rng.integers(-9999, 9999, maps).astype(np.int32), "ys": scale(ye), "yz": zero(128),
    }  # fmt: skip
    agree(case("QGemm", inputs, list(inputs), "com.microsoft", transB=int(transposed)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 300), st.integers(1, 40))
def test_matrix_product_equals_onnxruntime(seed: int, depth: int, maps: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = {
        "a": activations(rng, 3, depth), "as": scale(-4), "az": zero(128),
        "b": rng.integers(-127, 128, (depth, maps)).astype(np.int8),
        "bs": np.asarray(rng.uniform(1e-4, 1e-2), np.float32), "bz": np.asarray(0, np.int8),
        "ys": scale(-2), "yz": zero(128),
    }  # fmt: skip
    agree(case("QLinearMatMul", inputs, list(inputs)))


@settings(max_examples=60, deadline=None)
@given(EXPONENTS, EXPONENTS, EXPONENTS, ZERO_POINTS, ZERO_POINTS, ZERO_POINTS)
def test_residual_add_equals_onnxruntime_for_every_pair(
    ae: int, be: int, ye: int, az: int, bz: int, yz: int
) -> None:
    pairs = np.arange(65536)
    inputs = {
        "a": (pairs // 256).astype(np.uint8)[None], "as": scale(ae), "az": zero(az),
        "b": (pairs % 256).astype(np.uint8)[None], "bs": scale(be), "bz": zero(bz),
        "ys": scale(ye), "yz": zero(yz),
    }  # fmt: skip
    agree(case("QLinearAdd", inputs, list(inputs), "com.microsoft"))


@st.composite
def windows(draw: st.DrawFn) -> dict[str, list[int]]:
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    pads = [draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
    return {"kernel_shape": kernel, "pads": pads, "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 3))]}


@settings(max_examples=60, deadline=None)
@given(windows(), st.integers(0, 2**32), st.booleans(), st.integers(5, 12), st.integers(5, 12))
def test_max_pool_equals_onnxruntime(
    window: dict[str, list[int]], seed: int, ceil: bool, height: int, width: int
) -> None:
    x = activations(np.random.default_rng(seed), 2, 3, height, width)
    agree(case("MaxPool", {"x": x}, ["x"], ceil_mode=int(ceil), **window))


@settings(max_examples=80, deadline=None)
@given(
    windows(), st.integers(0, 2**32), st.booleans(), st.booleans(), EXPONENTS, EXPONENTS, ZERO_POINTS, ZERO_POINTS
)
def test_average_pool_equals_onnxruntime(
    window: dict[str, list[int]], seed: int, include: bool, ceil: bool, xe: int, ye: int, xz: int, yz: int
) -> None:
    inputs = {
        "x": activations(np.random.default_rng(seed), 1, 5, 9, 8), "xs": scale(xe), "xz": zero(xz),
        "ys": scale(ye), "yz": zero(yz),
    }  # fmt: skip
    flags = {"count_include_pad": int(include), "ceil_mode": int(ceil)}
    agree(case("QLinearAveragePool", inputs, list(inputs), "com.microsoft", **window, **flags))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 15), st.integers(1, 15), EXPONENTS, EXPONENTS, ZERO_POINTS, ZERO_POINTS
)
def test_global_average_pool_equals_onnxruntime(
    seed: int, height: int, width: int, xe: int, ye: int, xz: int, yz: int
) -> None:
    inputs = {
        "x": activations(np.random.default_rng(seed), 2, 33, height, width), "xs": scale(xe), "xz": zero(xz),
        "ys": scale(ye), "yz": zero(yz),
    }  # fmt: skip
    assume(xe - ye < 8)  # ONNX Runtime refuses a factor of 256 and more; no quantizer makes one
    agree(case("QLinearGlobalAveragePool", inputs, list(inputs), "com.microsoft", channels_last=0))


def test_lookup_and_concat_move_bytes() -> None:
    rng = np.random.default_rng(3)
    table, x = activations(rng, 256, 1).reshape(-1), activations(rng, 1, 4, 5, 5)
    np.testing.assert_array_equal(golden.lookup(table, x), table[x])
    agree(case("Concat", {"x": x, "z": activations(rng, 1, 3, 5, 5)}, ["x", "z"], axis=1))


def test_quantize_divides_and_ties_go_to_even() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, 127.5, 300.0, -300.0, 3.4e38], np.float32)
    steps = golden.quantize_linear(x, np.float32(1.0), 128)
    assert steps.tolist() == [128, 130, 130, 128, 255, 255, 0, 255]


@pytest.mark.parametrize(
    ("window", "size", "count"),
    [
        (Window((3, 3), (2, 2), (0, 0, 1, 1)), 112, 56),
        (Window((3, 3), (2, 2), ceil_mode=True), 112, 56),
        (Window((2, 2), (2, 2), ceil_mode=True), 75, 38),
        (Window((1, 1), (3, 3), (0, 0, 2, 2), ceil_mode=True), 1, 1),
        (Window((3, 3), dilations=(6, 6), pads=(6, 6, 6, 6)), 19, 19),
    ],
)
def test_window_counts(window: Window, size: int, count: int) -> None:
    assert window.count(0, size) == count


@pytest.mark.parametrize("size", [1, 7, 16, 4096])
@pytest.mark.parametrize("z", [0, 128])
def test_quantizing_what_is_no_number(size: int, z: int) -> None:
    """NaN becomes the smallest byte, infinities the bounds: in vectors and in what is left over."""
    x = np.resize(np.array([np.nan, np.inf, -np.inf, -np.nan, 0.25], np.float32), (1, size))
    node = Node("QuantizeLinear", "q", ("x", "s", "z"), ("y",))
    value = Value("x", "float32", (None, size))
    constants = {"s": np.asarray(0.5, np.float32), "z": zero(z)}
    graph = Graph("q", (value,), (Value("y", "uint8", (None, size)),), (node,), constants)
    ours = golden.run(graph, {"x": x})["y"]
    np.testing.assert_array_equal(ours, Case(graph, {"x": x}).by_onnxruntime())
    assert ours.ravel()[:5].tolist() == [0, 255, 0, 0, z][:size]


def refused(node: Node, **inputs: object) -> str:
    one = case(node.op, inputs, list(node.inputs), node.domain, **node.attributes)  # type: ignore[arg-type]
    with pytest.raises(ModelError) as caught:
        golden.run(one.graph, one.inputs)
    return str(caught.value)


def test_attributes_that_mean_something_else() -> None:
    x = np.zeros((1, 3, 5, 5), np.uint8)
    pool = Node("MaxPool", "MaxPool", ("x",), ("y",), {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"})
    assert refused(pool, x=x) == "node 'MaxPool': auto_pad is SAME_UPPER; write the pads out"
    names = ("x", "xs", "xz", "ys", "yz")
    inputs = {"x": x, "xs": scale(0), "xz": zero(0), "ys": scale(0), "yz": zero(0)}
    mean = Node("QLinearGlobalAveragePool", "m", names, ("y",), {"channels_last": 1}, "com.microsoft")
    assert refused(mean, **inputs) == (
        "node 'QLinearGlobalAveragePool': channels_last is 1; the maps must be [N, C, H, W]"
    )
    sigmoid = Node("QLinearSigmoid", "s", names, ("y",), {}, "com.microsoft")
    assert refused(sigmoid, **inputs) == (
        "node 'QLinearSigmoid': QLinearSigmoid has no normative operator; quantize the network first"
    )
