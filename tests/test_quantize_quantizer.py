"""Quantization of small networks: what comes out, and that every device computes it alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from fieldwave import golden
from fieldwave.errors import CalibrationError, ModelError
from fieldwave.graph import Graph, Node, Value, from_onnx, to_onnx
from fieldwave.quantize import quantize


def residual_network(rng: np.random.Generator) -> Graph:
    """Convolution, batch norm, Relu, pool, a residual block, ReLU6, a head: each kind of node once."""

    def weights(*shape: int) -> NDArray[np.float32]:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    constants: dict[str, NDArray[Any]] = {
        "w1": weights(16, 3, 3, 3), "w2": weights(16, 16, 3, 3), "b2": weights(16, 1).ravel(),
        "w3": weights(24, 16, 1, 1), "w4": weights(24, 16, 1, 1),
        "w5": weights(10, 24), "b5": weights(10, 1).ravel(),
        "gamma": rng.uniform(0.5, 2, 16).astype(np.float32), "beta": rng.normal(size=16).astype(np.float32),
        "mean": rng.normal(size=16).astype(np.float32), "variance": rng.uniform(0.5, 2, 16).astype(np.float32),
        "zero": np.asarray(0, np.float32), "six": np.asarray(6, np.float32),
    }  # fmt: skip
    pads = {"pads": [1, 1, 1, 1]}
    nodes = (
        Node("Transpose", "nchw", ("x",), ("x_nchw",), {"perm": [0, 3, 1, 2]}),
        Node("Conv", "conv1", ("x_nchw", "w1"), ("c1",), pads),
        Node("BatchNormalization", "bn1", ("c1", "gamma", "beta", "mean", "variance"), ("n1",), {"epsilon": 1e-3}),
        Node("Relu", "relu1", ("n1",), ("r1",)),
        Node(
            "MaxPool", "pool1", ("r1",), ("p1",), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}
        ),
        Node("Conv", "conv2", ("p1", "w2", "b2"), ("c2",), pads),
        Node("Clip", "relu6", ("c2", "zero", "six"), ("r2",)),
        Node("Conv", "conv3", ("r2", "w3"), ("c3",)),
        Node("Conv", "shortcut", ("p1", "w4"), ("c4",)),
        Node("Add", "add", ("c3", "c4"), ("s",)),
        Node("Relu", "relu3", ("s",), ("r3",)),
        Node("GlobalAveragePool", "gap", ("r3",), ("g",)),
        Node("Flatten", "flat", ("g",), ("f",)),
        Node("Gemm", "fc", ("f", "w5", "b5"), ("logits",), {"transB": 1}),
        Node("Softmax", "softmax", ("logits",), ("scores",), {"axis": 1}),
    )
    return Graph(
        "residual", (Value("x", "float32", (None, 12, 12, 3)),), (Value("scores", "float32", (None, 10)),),
        nodes, constants,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(5)
    return [rng.normal(0, 40, (1, 12, 12, 3)).astype(np.float32) for _ in range(8)]


def run(graph: Graph, image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    names = [name for name in graph.activations() if name != "x"]
    model = to_onnx(graph)
    del model.graph.output[:]
    model.graph.output.extend(type(model.graph.input[0])(name=name) for name in names)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {"x": image}), strict=True))


def test_the_form_of_the_quantized_network(photos: list[NDArray[np.float32]]) -> None:
    graph = quantize(residual_network(np.random.default_rng(1)), photos).graph
    assert [node.op for node in graph.nodes] == [
        "QuantizeLinear", "Transpose", "QLinearConv", "MaxPool", "QLinearConv", "Clip", "QLinearConv",
        "QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool", "Flatten", "QGemm", "DequantizeLinear", "Softmax",
    ]  # fmt: skip
    for name, value in graph.constants.items():
        if name.startswith("scale_"):
            assert value.dtype == np.float32 and np.log2(value) == np.rint(np.log2(value))
        if name.startswith("zero_point_"):
            assert value in (0, 128)
    assert graph.constants["conv1/weights_int8"].dtype == np.int8
    assert graph.constants["conv1/weights_scale"].shape == (16,)
    assert np.abs(graph.constants["conv1/weights_int8"]).max(axis=(1, 2, 3)).tolist() == [127] * 16
    assert graph.constants["conv1/bias_int32"].dtype == np.int32
    assert not any(graph.constants["conv1/weights_zero_point"])
    assert [value.name for value in graph.outputs] == ["scores"]


def test_every_tensor_equals_the_golden_model(photos: list[NDArray[np.float32]]) -> None:
    graph = quantize(residual_network(np.random.default_rng(2)), photos).graph
    for image in photos[:3]:
        theirs, ours = run(graph, image), golden.run(graph, {"x": image})
        compared = [name for name, value in theirs.items() if value.dtype == np.uint8]
        assert len(compared) == 12
        for name in [*compared, "logits"]:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_int8_stays_close_to_float(photos: list[NDArray[np.float32]]) -> None:
    source = residual_network(np.random.default_rng(3))
    labels = [int(run(source, image)["scores"].argmax()) for image in photos]
    report = quantize(source, photos, labels=labels).report
    assert report.float_accuracy == 1.0
    assert report.agreement == report.int8_accuracy and report.agreement is not None and report.agreement >= 0.75
    assert min(layer.snr for layer in report.layers) > 15
    assert max(layer.clipped for layer in report.layers) < 0.05
    assert report.worst(1)[0].snr == min(layer.snr for layer in report.layers)


def test_quantizing_twice_gives_the_same_bytes(photos: list[NDArray[np.float32]]) -> None:
    first, second = (
        to_onnx(quantize(residual_network(np.random.default_rng(4)), photos).graph).SerializeToString()
        for _ in range(2)
    )
    assert first == second
    assert to_onnx(from_onnx(first)).SerializeToString() == first


def test_a_tensor_read_before_its_relu_keeps_its_sign(photos: list[NDArray[np.float32]]) -> None:
    """The Relu of a signed tensor that others read clips bytes at the zero point."""
    source = residual_network(np.random.default_rng(6))
    nodes = [*source.nodes[:-1], Node("Add", "late", ("c4", "r4"), ("t",)), source.nodes[-1]]
    nodes.insert(9, Node("Relu", "relu4", ("c4",), ("r4",)))
    outputs = (*source.outputs, Value("t", "float32", (None, 24, 6, 6)))
    graph = quantize(Graph("late", source.inputs, outputs, tuple(nodes), source.constants), photos).graph
    clips = [node for node in graph.nodes if node.name == "relu4"]
    assert [graph.constants[name] for name in clips[0].inputs[1:]] == [128, 255]
    theirs, ours = run(graph, photos[0]), golden.run(graph, {"x": photos[0]})
    np.testing.assert_array_equal(ours["t"], theirs["t"])
    assert ours["r4_quantized"].min() == 128


@pytest.mark.parametrize("gain", [0.0, 1e-44, 1e-12, 1e-6])
def test_channels_that_are_all_but_dead(photos: list[NDArray[np.float32]], gain: float) -> None:
    """Weights near zero beside a bias that is not: such channels are constants, and keep their value."""
    source = residual_network(np.random.default_rng(7))
    source.constants["gamma"][:5] = gain  # type: ignore[index]
    source.constants["beta"][:5] = 0.3  # type: ignore[index]
    made = quantize(source, photos)
    theirs, ours = run(made.graph, photos[0]), golden.run(made.graph, {"x": photos[0]})
    np.testing.assert_array_equal(ours["r1_quantized"], theirs["r1_quantized"])
    layer = next(layer for layer in made.report.layers if layer.tensor == "r1")
    values = ours["r1_quantized"][0, :5].astype(np.float64) * 2.0**layer.exponent
    assert np.abs(values - 0.3).max() <= 2.0 ** (layer.exponent - 1) * 1.01
    assert layer.snr > 25


def test_more_products_than_int32_holds() -> None:
    node = Node("Gemm", "fc", ("f", "w"), ("y",))
    values = (Value("f", "float32", (None, 70000)),), (Value("y", "float32", (None, 1)),)
    graph = Graph("wide", *values, (node,), {"w": np.ones((70000, 1), np.float32)})
    image = np.ones((1, 70000), np.float32)
    with pytest.raises(ModelError) as caught:
        quantize(graph, [image])
    assert str(caught.value) == (
        "node 'fc': 70000 products are summed for one output, which int32 cannot hold for int8"
    )


def test_no_images() -> None:
    with pytest.raises(CalibrationError) as caught:
        quantize(residual_network(np.random.default_rng(0)), [])
    assert str(caught.value) == "there are no calibration images; give at least one, better 16 or more"


def test_weights_that_are_not_finite(photos: list[NDArray[np.float32]]) -> None:
    source = residual_network(np.random.default_rng(0))
    source.constants["w3"][0, 0] = np.nan  # type: ignore[index]
    with pytest.raises(ModelError) as caught:
        quantize(source, photos)
    assert str(caught.value) == "node 'conv3' (Conv): weights 'w3' hold NaN or infinity"


def test_activations_that_are_not_finite(photos: list[NDArray[np.float32]]) -> None:
    broken = np.full_like(photos[0], 3e38)
    with pytest.raises(CalibrationError) as caught:
        quantize(residual_network(np.random.default_rng(0)), [photos[0], broken])
    assert str(caught.value) == "tensor 'r1' is not finite on calibration image 2; check the weights"


def test_nothing_to_quantize(photos: list[NDArray[np.float32]]) -> None:
    values = (Value("x", "float32", (None, 12, 12, 3)),), (Value("y", "float32", (None, 12, 12, 3)),)
    graph = Graph("empty", *values, (Node("Softmax", "softmax", ("x",), ("y",)),), {})
    with pytest.raises(ModelError) as caught:
        quantize(graph, photos)
    assert str(caught.value) == "network 'empty' holds no layer that can be quantized"
