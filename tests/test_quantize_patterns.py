"""What networks are made of beside convolutions: each pattern is quantized, exact, and close to float."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fieldwave.compiler import compile_network
from fieldwave.graph import Graph
from fieldwave.npu import configuration
from fieldwave.quantize import Quantized, quantize
from tests.float_networks import Floats, assert_exact, run
from tests.programs import check


def made(b: Floats, *outputs: str, snr: float = 20.0) -> Quantized:
    """The network quantized: exact on every device, and not far from float."""
    images = b.images()
    quantized = quantize(b.graph(*outputs), images)
    assert_exact(quantized.graph, images[:2])
    check(quantized.graph, {"x": images[0]}, configuration("sim16"), traces=(False,))
    for layer in quantized.report.layers:
        assert layer.snr > snr, layer
    return quantized


def on_host(graph: Graph) -> dict[str, str]:
    """Operator and reason of what the NPU does not take."""
    refusals = compile_network(graph, configuration("sim16")).lowering.refusals
    by_name = {node.name: node.op for node in graph.nodes}
    return {by_name[name]: reason for name, reason in refusals.items()}


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def dense_block(seed: int, *, nested: bool) -> tuple[Floats, str]:
    """As in DenseNet: joined maps, then batch norm, Relu, 1x1, batch norm, Relu, 3x3; a transition; a mean."""
    b = Floats(seed)
    parts = [b.op("MaxPool", b.relu(b.conv("x", 3, 8)), kernel_shape=[2, 2], strides=[2, 2])]
    whole = parts[0]
    for index in range(3):
        channels = 8 + 6 * index
        inner = b.conv(b.relu(b.batch_norm(whole, channels, negative=0.2)), channels, 12, 1, bias=False)
        inner = b.relu(b.batch_norm(inner, 12))
        parts.append(b.conv(inner, 12, 6, bias=False))
        whole = b.op("Concat", *((whole, parts[-1]) if nested else parts), axis=1)
    y = b.conv(b.relu(b.batch_norm(whole, 26)), 26, 10, 1, bias=False)
    y = b.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = b.op("GlobalAveragePool", b.relu(b.batch_norm(y, 10)))
    weights = b.constant(b.rng.normal(size=(10, 5)))
    return b, b.op("Gemm", b.op("Flatten", y, axis=1), weights, b.constant(b.rng.normal(size=5)))


@pytest.mark.parametrize("nested", [False, True])
def test_dense_block(nested: bool) -> None:
    b, logits = dense_block(1 + nested, nested=nested)
    graph = made(b, logits).graph
    assert {"BatchNormalization", "DequantizeLinear", "Relu"} & set(ops(graph)) == {"DequantizeLinear"}
    assert ops(graph).count("DequantizeLinear") == 1 and ops(graph)[-1] == "DequantizeLinear"
    slices = [node for node in graph.nodes if node.op == "QLinearConv" and node.attributes.get("group", 1) > 1]
    assert len(slices) == 5
    for node in slices:
        _, xs, _, w, ws, _, ys, _, bias = (graph.constants.get(name) for name in node.inputs)
        assert w is not None and xs is not None and ws is not None and ys is not None and bias is not None
        magnitude = np.abs(w.astype(int).reshape(-1))
        factor = (xs * ws / ys).astype(np.float32)
        assert magnitude.max() <= 127 and np.all(
            (magnitude == 0) | (magnitude >= 64) | (magnitude * factor < 2**-8)
        )
        assert np.array_equal(factor, 2.0 ** np.rint(np.log2(factor)))
        assert np.max(255 * magnitude + np.abs(bias)) < 2**24
    joined = {name for node in graph.nodes if node.op == "Concat" for name in node.inputs}
    scales = {node.inputs[-3] for node in graph.nodes if node.output in joined and node.op == "QLinearConv"}
    assert len(scales) > 1
    assert set(on_host(graph)) == {"QuantizeLinear", "DequantizeLinear"}


def test_the_gain_left_over_goes_into_the_next_weights() -> None:
    """The float network that is quantized is the same function, with gains of seven bits."""
    b, logits = dense_block(3, nested=False)
    images = b.images()
    quantized = quantize(b.graph(logits), images)
    for image in images:
        before, after = run(b.graph(logits), image)[logits], run(quantized.prepared.graph, image)[logits]
        assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
    for node in quantized.prepared.graph.nodes:
        if node.op == "Conv" and int(node.attributes.get("group", 1)) > 1:
            fraction, _ = np.frexp(quantized.prepared.graph.constants[node.inputs[1]].astype(np.float64))
            assert np.array_equal(fraction * 128, np.rint(fraction * 128))


def test_a_batch_norm_that_ends_the_network_keeps_its_gain() -> None:
    b = Floats(4)
    y = b.op("Add", b.conv("x", 3, 8), b.conv("x", 3, 8))
    graph = made(b, b.batch_norm(y, 8)).graph
    assert ops(graph)[-2:] == ["QLinearConv", "DequantizeLinear"]
    weights = graph.constants[graph.nodes[-2].inputs[3]]
    assert set(np.abs(weights.astype(int).reshape(-1))) <= {0, 1, 127}


def norm(b: Floats, x: str, form: str) -> str:
    """The ways in which frameworks write ``x / |x|``."""
    axes = b.constant([1], np.int64)
    match form:
        case "LpNormalization":
            return b.op("LpNormalization", x, axis=1, p=2)
        case "ReduceL2":  # torch.nn.functional.normalize
            bounded = b.op("Clip", b.op("ReduceL2", x, axes=[1], keepdims=1), b.constant(1e-12))
            return b.op("Div", x, b.op("Expand", bounded, b.op("Shape", x)))
        case "pow":  # ssd.pytorch
            squares = b.op("ReduceSum", b.op("Pow", x, b.constant(2.0)), axes, keepdims=1)
            return b.op("Div", x, b.op("Add", b.op("Sqrt", squares), b.constant(1e-10)))
        case _:  # tf.nn.l2_normalize
            squares = b.op("ReduceSum", b.op("Mul", x, x), axes, keepdims=1)
            return b.op("Mul", x, b.op("Reciprocal", b.op("Sqrt", b.op("Max", squares, b.constant(1e-12)))))


@pytest.mark.parametrize("form", ["LpNormalization", "ReduceL2", "pow", "rsqrt"])
@pytest.mark.parametrize("gain", [False, True])
def test_l2_normalisation(form: str, gain: bool) -> None:
    """With the head that reads it in SSD: convolution, channels last, anchors apart."""
    b = Floats(5)
    y = norm(b, b.relu(b.conv("x", 3, 16)), form)
    if gain:
        y = b.op("Mul", b.constant(b.rng.uniform(10, 30, (1, 16, 1, 1))), y)
    head = b.op("Transpose", b.conv(y, 16, 8, bias=False), perm=[0, 2, 3, 1])
    graph = made(b, b.op("Reshape", head, b.constant([-1, 10, 10, 4, 2], np.int64)), y).graph
    found = ops(graph)
    start = found.index("Cast")
    steps = ["Cast", "Sub", "Mul", "ReduceSum", "Cast", "Max", "Sqrt", "Cast", "Div", "Mul", "QuantizeLinear"]
    if not gain:
        del steps[-2]
    assert found[start : start + len(steps)] == steps
    assert found.count("Transpose") == found.count("Reshape") == 1
    assert found[-1] == "DequantizeLinear"
    reasons = on_host(graph)
    assert {"QLinearConv"} & set(reasons) == set()
    assert reasons["Sqrt"] == "Sqrt works on float32; the NPU works on uint8"


def silu(b: Floats, x: str) -> str:
    return b.op("Mul", x, b.op("Sigmoid", x))


def hard_swish(b: Floats, x: str) -> str:
    part = b.op("Clip", b.op("Add", x, b.constant(3.0)), b.constant(0.0), b.constant(6.0))
    return b.op("Div", b.op("Mul", x, part), b.constant(6.0))


def gelu(b: Floats, x: str) -> str:
    part = b.op("Add", b.op("Erf", b.op("Div", x, b.constant(np.sqrt(2)))), b.constant(1.0))
    return b.op("Mul", b.op("Mul", x, part), b.constant(0.5))


PLAIN = ("Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Softplus", "Elu")
FUNCTIONS = {
    **{op: (lambda b, x, op=op: b.op(op, x)) for op in PLAIN},
    "LeakyRelu": lambda b, x: b.op("LeakyRelu", x, alpha=0.1),
    "silu": silu, "hard_swish": hard_swish, "gelu": gelu,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_one_byte(name: str) -> None:
    function: Any = FUNCTIONS[name]
    b = Floats(6)
    y = b.conv(function(b, b.conv("x", 3, 12)), 12, 8)
    y = b.op("MaxPool", function(b, y), kernel_shape=[2, 2])
    graph = made(b, b.conv(y, 8, 4), snr=15).graph
    assert ops(graph) == [
        "QuantizeLinear", "QLinearConv", "Cast", "Gather", "QLinearConv", "Cast", "Gather", "MaxPool",
        "QLinearConv", "DequantizeLinear",
    ]  # fmt: skip
    assert set(on_host(graph)) == {"QuantizeLinear", "DequantizeLinear"}


def test_the_table_is_the_function_in_float64() -> None:
    b = Floats(7)
    graph = made(b, b.conv(b.op("Sigmoid", b.conv("x", 3, 4)), 4, 4)).graph
    gather = next(node for node in graph.nodes if node.op == "Gather")
    table = graph.constants[gather.inputs[0]]
    x, y = (next(node for node in graph.nodes if node.op == "QLinearConv"), graph.nodes[-2])
    step, out = float(graph.constants[x.inputs[6]]), float(graph.constants[y.inputs[1]])
    real = 1 / (1 + np.exp(-(np.arange(256.0) - 128) * step))
    assert table.tolist() == np.clip(np.rint(real / out), 0, 255).tolist()


def test_a_sigmoid_that_ends_the_network_stays_float() -> None:
    b = Floats(8)
    graph = quantize(b.graph(b.op("Sigmoid", b.conv("x", 3, 4))), b.images()).graph
    assert ops(graph) == ["QuantizeLinear", "QLinearConv", "DequantizeLinear", "Sigmoid"]


def test_padding_that_is_a_node_or_a_word() -> None:
    """Keras and TensorFlow pad before they convolve, or by ``SAME``."""
    b = Floats(9, size=11)
    pads = b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    y = b.relu(b.conv(b.op("Pad", "x", pads), 3, 8, pads=[0] * 4, strides=[2, 2]))
    y = b.op("MaxPool", b.op("Pad", y, pads), kernel_shape=[3, 3], strides=[2, 2])
    y = b.relu(b.conv(y, 8, 8, 4, auto_pad="SAME_UPPER", strides=[2, 2]))
    y = b.conv(b.op("AveragePool", y, kernel_shape=[2, 2], auto_pad="SAME_LOWER"), 8, 4, 1, auto_pad="VALID")
    graph = quantize(b.graph(y), b.images()).graph
    assert set(ops(graph)) == {
        "QuantizeLinear", "QLinearConv", "MaxPool", "QLinearAveragePool", "DequantizeLinear"
    }  # fmt: skip


def test_what_tensorflow_writes_behind_layers() -> None:
    """A bias added, a gain multiplied, a mean over two axes, a matrix product and its bias."""
    b = Floats(10)
    y = b.op("Add", b.conv("x", 3, 8, bias=False), b.constant(b.rng.normal(size=(1, 8, 1, 1))))
    y = b.relu(b.op("Mul", y, b.constant(b.rng.uniform(0.5, 2, (8, 1, 1)))))
    y = b.op("ReduceMean", y, axes=[2, 3], keepdims=0)
    y = b.op("MatMul", y, b.constant(b.rng.normal(size=(8, 6))))
    y = b.relu(b.op("Add", y, b.constant(b.rng.normal(size=6))))
    y = b.op("MatMul", y, b.constant(b.rng.normal(size=(6, 4))))
    graph = made(b, b.op("Add", b.constant(b.rng.normal(size=4)), y)).graph
    assert ops(graph) == [
        "QuantizeLinear", "QLinearConv", "QLinearGlobalAveragePool", "Flatten", "QGemm", "QGemm",
        "DequantizeLinear",
    ]  # fmt: skip


def test_depthwise_grouped_and_dilated() -> None:
    b = Floats(11)
    y = b.op("Clip", b.conv("x", 3, 12, strides=[2, 2], pads=[0, 0, 1, 1]), b.constant(0.0), b.constant(6.0))
    y = b.relu(b.batch_norm(b.conv(y, 12, 12, group=12, bias=False), 12))
    y = b.relu(b.conv(y, 12, 8, group=4))
    y = b.conv(y, 8, 4, dilations=[2, 2], pads=[2, 2, 2, 2])
    found = ops(made(b, y).graph)
    assert found == ["QuantizeLinear", "QLinearConv", "Clip", *["QLinearConv"] * 3, "DequantizeLinear"]


def test_an_output_before_the_batch_norm_stays() -> None:
    b = Floats(12)
    y = b.conv("x", 3, 8)
    graph = made(b, y, b.relu(b.batch_norm(y, 8))).graph
    assert [value.name for value in graph.outputs] == [y, b.nodes[-1].output]
    assert ops(graph).count("QLinearConv") == 2


def test_convolutions_with_an_empty_or_a_computed_bias() -> None:
    b = Floats(13)
    y = b.op("Conv", "x", b.constant(b.rng.normal(size=(8, 3, 1, 1))), "")
    y = b.relu(b.batch_norm(y, 8))
    bias = b.op("Reshape", b.op("GlobalAveragePool", y), b.constant([8], np.int64))
    y = b.op("Conv", y, b.constant(b.rng.normal(size=(8, 8, 1, 1))), bias)
    graph = quantize(b.graph(b.relu(b.batch_norm(y, 8))), b.images()).graph
    assert ops(graph).count("Conv") == 1 and ops(graph).count("QLinearConv") == 2
