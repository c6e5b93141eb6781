"""Each kind of layer, emitted as ONNX and in the zoo's own numpy, against the definition written as loops.

Inputs and weights are small whole numbers wherever the arithmetic allows, so that float32 is exact and the
results are compared with ``==``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import pytest

from fieldwave import zoo
from fieldwave.errors import MissingExtraError, ModelError
from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.forward import forward
from fieldwave.zoo.layers import (
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    L2Normalize,
    Layer,
    MaxPool,
    Relu,
    Reshape,
    Shape,
    Softmax,
    Squeeze,
)

HEIGHT, WIDTH, BATCH = 6, 9, 2
IMAGES = zoo.Tensor("images:0", (), (HEIGHT, WIDTH, 3))
Array = np.ndarray
Weights = dict[str, Array]


def windows(x: Array, kernel: int, stride: int, pads: tuple[int, int, int, int], dilation: int = 1) -> Array:
    """[batch, output height, output width, kernel, kernel, channels]; NaN where the window sees padding."""
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=np.nan)
    extent = (kernel - 1) * dilation + 1
    rows = range(0, padded.shape[1] - extent + 1, stride)
    columns = range(0, padded.shape[2] - extent + 1, stride)
    return np.stack(
        [
            np.stack([padded[:, r : r + extent : dilation, c : c + extent : dilation] for c in columns], axis=1)
            for r in rows
        ],
        axis=1,
    )


def convolved(
    x: Array,
    kernel: Array,
    stride: int,
    pads: tuple[int, int, int, int],
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    seen = np.nan_to_num(windows(x, len(kernel), stride, pads, dilation))
    width = kernel.shape[3] // groups
    outputs = []
    for channel in range(kernel.shape[3]):
        group = channel // width
        taps = kernel[..., channel]
        first = group * taps.shape[2]
        outputs.append((seen[..., first : first + taps.shape[2]] * taps).sum(axis=(3, 4, 5)))
    return np.stack(outputs, axis=-1)


def normalised(x: Array) -> Array:
    """Each pixel over its length; pixels of zeros, of which the tests have some, stay zero."""
    length = np.sqrt((x**2).sum(axis=3, keepdims=True))
    return np.where(length > 0, x / np.maximum(length, 1e-300), 0)


@dataclass(frozen=True)
class Case:
    name: str
    layers: tuple[Layer, ...]
    expected: Callable[[Array, Weights], Array]
    exact: bool = True


def conv(**attributes: object) -> tuple[Layer, ...]:
    return (Conv("last", ("images:0",), weights="w", **attributes),)  # type: ignore[arg-type]


GLOBAL = GlobalAveragePool("g", ("images:0",))
SQUEEZE = Squeeze("s", ("g:0",))
CASES = [
    Case(
        "conv, explicit padding, stride, bias",
        conv(kernel=3, stride=2, padding=(1, 1, 1, 1), channels=5, biases="b"),
        lambda x, w: convolved(x, w["w"], 2, (1, 1, 1, 1)) + w["b"],
    ),
    Case(
        "conv, four different paddings",
        conv(kernel=3, padding=(0, 1, 2, 3), channels=5),
        lambda x, w: convolved(x, w["w"], 1, (0, 1, 2, 3)),
    ),
    Case(
        "conv, SAME that is asymmetric in the rows only",
        conv(kernel=3, stride=2, padding="same", channels=5),
        lambda x, w: convolved(x, w["w"], 2, (0, 1, 1, 1)),
    ),
    Case(
        "conv, dilated",
        conv(kernel=3, dilation=2, padding="same", channels=4),
        lambda x, w: convolved(x, w["w"], 1, (2, 2, 2, 2), dilation=2),
    ),
    Case(
        "conv, depthwise",
        conv(kernel=3, groups=3, padding=(0, 0, 0, 0), channels=6),
        lambda x, w: convolved(x, w["w"], 1, (0, 0, 0, 0), groups=3),
    ),
    Case(
        "max pool, SAME",
        (MaxPool("last", ("images:0",), kernel=3, stride=2, padding="same"),),
        lambda x, w: np.nanmax(windows(x, 3, 2, (0, 1, 1, 1)), axis=(3, 4)),
    ),
    Case(
        "max pool that subsamples",
        (MaxPool("last", ("images:0",), kernel=1, stride=2),),
        lambda x, w: x[:, ::2, ::2],
    ),
    Case(
        "average pool, padding not counted",
        (AveragePool("last", ("images:0",), kernel=2, stride=2, padding="same"),),
        lambda x, w: np.nanmean(windows(x, 2, 2, (0, 0, 0, 1)), axis=(3, 4)),
    ),
    Case(
        "batch norm",
        (BatchNorm("last", ("images:0",), scope="bn", epsilon=0.25),),
        lambda x, w: (
            (x - w["bn/moving_mean"]) / np.sqrt(w["bn/moving_variance"] + 0.25) * w["bn/gamma"] + w["bn/beta"]
        ),
        exact=False,
    ),
    Case("relu", (Relu("last", ("images:0",)),), lambda x, w: np.where(x > 0, x, 0)),
    Case(
        "add",
        (Relu("r", ("images:0",)), Add("last", ("images:0", "r:0"))),
        lambda x, w: np.where(x > 0, 2 * x, x),
    ),
    Case(
        "concat",
        (Relu("r", ("images:0",)), Concat("last", ("r:0", "images:0"))),
        lambda x, w: np.concatenate([np.where(x > 0, x, 0), x], axis=3),
    ),
    Case(
        "global average pool",
        (GlobalAveragePool("last", ("images:0",)),),
        lambda x, w: x.sum(axis=(1, 2), keepdims=True) / (HEIGHT * WIDTH),
        exact=False,
    ),
    Case(
        "squeeze",
        (MaxPool("m", ("images:0",), kernel=9, stride=9, padding="same"), Squeeze("last", ("m:0",))),
        lambda x, w: x.max(axis=(1, 2)),
    ),
    Case(
        "reshape of an image, channels fastest",
        (Reshape("last", ("images:0",), sizes=(HEIGHT, 3, WIDTH)),),
        lambda x, w: x.reshape(BATCH, HEIGHT, 3, WIDTH),
    ),
    Case(
        "reshape to four dimensions and back to one",
        (
            Reshape("r", ("images:0",), sizes=(HEIGHT, WIDTH, 1, 3)),
            Reshape("last", ("r:0",), sizes=(HEIGHT * WIDTH * 3,)),
        ),
        lambda x, w: x.reshape(BATCH, -1),
    ),
    Case(
        "L2 normalisation",
        (Relu("r", ("images:0",)), L2Normalize("last", ("r:0",), scope="norm")),
        lambda x, w: normalised(np.maximum(x, 0)) * w["norm/gamma"],
        exact=False,
    ),
    Case(
        "dense",
        (GLOBAL, SQUEEZE, Dense("last", ("s:0",), channels=4, weights="w", biases="b")),
        lambda x, w: x.mean(axis=(1, 2)) @ w["w"] + w["b"],
        exact=False,
    ),
    Case(
        "dense without bias",
        (GLOBAL, SQUEEZE, Dense("last", ("s:0",), channels=4, weights="w")),
        lambda x, w: x.mean(axis=(1, 2)) @ w["w"],
        exact=False,
    ),
]


def network(layers: tuple[Layer, ...], *outputs: tuple[str, Shape]) -> zoo.Network:
    return zoo.Network(
        name="small",
        input=IMAGES,
        outputs=tuple(zoo.Tensor(name, (), shape) for name, shape in outputs),
        layers=layers,
        features=layers[0].output,
        preprocessing=Preprocessing(height=HEIGHT, width=WIDTH, resize="stretch"),
    )


def of_layers(layers: tuple[Layer, ...]) -> zoo.Network:
    shapes: dict[str, Shape] = {IMAGES.name: IMAGES.shape}
    for layer in layers:
        shapes[layer.output] = layer.shape(*(shapes[tensor] for tensor in layer.inputs))
    return network(layers, (layers[-1].output, shapes[layers[-1].output]))


def whole_numbers(net: zoo.Network) -> tuple[Array, Weights]:
    rng = np.random.default_rng(0)
    images = rng.integers(-20, 20, (BATCH, *IMAGES.shape)).astype(np.float32)
    weights = {
        name: rng.integers(1 if name.endswith("variance") else -5, 6, shape).astype(np.float32)
        for name, shape in net.weight_shapes.items()
    }
    return images, weights


def emitted(net: zoo.Network, weights: Weights, images: Array) -> list[Array]:
    model = zoo.to_onnx(net, weights)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {IMAGES.name: images})


def compare(actual: Array, case: Case, images: Array, weights: Weights, tolerance: float) -> None:
    expected = case.expected(images.astype(np.float64), {n: w.astype(np.float64) for n, w in weights.items()})
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0 if case.exact else tolerance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_emitted_layer_computes_its_definition(case: Case) -> None:
    net = of_layers(case.layers)
    images, weights = whole_numbers(net)
    (output,) = emitted(net, weights, images)
    compare(output, case, images, weights, tolerance=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_numpy_layer_computes_its_definition(case: Case) -> None:
    net = of_layers(case.layers)
    images, weights = whole_numbers(net)
    tensors = {IMAGES.name: images.astype(np.float64)}
    for layer in net.layers:
        tensors[layer.output] = forward(layer, tuple(tensors[name] for name in layer.inputs), weights)
    compare(tensors["last:0"], case, images, weights, tolerance=0.02)  # a grid step, times dense weights


def test_softmax() -> None:
    net = of_layers((GLOBAL, SQUEEZE, Softmax("last", ("s:0",))))
    images, weights = whole_numbers(net)
    (output,) = emitted(net, weights, images)
    exponents = np.exp(images.astype(np.float64).mean(axis=(1, 2)))
    np.testing.assert_allclose(output, exponents / exponents.sum(axis=1, keepdims=True), rtol=1e-5)


def test_the_graph_carries_the_names_of_the_network() -> None:
    digits = zoo.network("digits")
    model = zoo.to_onnx(digits, zoo.load_weights(digits, ""))
    graph = model.graph
    assert [node.name for node in graph.node] == ["images:0/nchw", *(layer.name for layer in digits.layers)]
    assert [node.output[0] for node in graph.node] == [
        "images:0/nchw",
        *(layer.output for layer in digits.layers),
    ]
    assert [tensor.name for tensor in graph.initializer] == list(digits.weight_shapes)
    assert [(value.name, shape_of(value)) for value in graph.input] == [("images:0", ["N", 8, 8, 1])]
    assert [(value.name, shape_of(value)) for value in graph.output] == [
        ("digits/predictions/Softmax:0", ["N", 10])
    ]
    assert (graph.name, model.producer_name, model.ir_version) == ("digits", "fieldwave", 8)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17), ("com.microsoft", 1)]


def test_kernels_are_turned_to_channels_first() -> None:
    digits = zoo.network("digits")
    weights = zoo.load_weights(digits, "")
    initializers = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in zoo.to_onnx(digits, weights).graph.initializer
    }
    np.testing.assert_array_equal(
        initializers["digits/conv1/weights"], weights["digits/conv1/weights"].transpose(3, 2, 0, 1)
    )
    np.testing.assert_array_equal(initializers["digits/logits/weights"], weights["digits/logits/weights"])


def test_the_same_network_gives_the_same_bytes() -> None:
    digits = zoo.network("digits")
    weights = zoo.load_weights(digits, "")
    first = zoo.to_onnx(digits, weights).SerializeToString()
    assert zoo.to_onnx(digits, dict(reversed(weights.items()))).SerializeToString() == first


def test_spatial_outputs_are_channels_last_and_may_be_read_inside() -> None:
    relu = Relu("r", ("images:0",))
    net = network((relu, Add("a", ("images:0", "r:0"))), ("r:0", (HEIGHT, WIDTH, 3)), ("a:0", (HEIGHT, WIDTH, 3)))
    images, weights = whole_numbers(net)
    first, second = emitted(net, weights, images)
    np.testing.assert_array_equal(first, np.maximum(images, 0))
    np.testing.assert_array_equal(second, images + np.maximum(images, 0))


def test_resnet50_is_a_valid_model() -> None:
    resnet = zoo.network("resnet50")
    zeros = {name: np.zeros(shape, np.float32) for name, shape in resnet.weight_shapes.items()}
    model = zoo.to_onnx(resnet, zeros)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    shapes = {value.name: shape_of(value) for value in inferred.graph.value_info}
    height, width, channels = resnet.shapes["resnet_v1_50/block3/unit_6/bottleneck_v1/Relu:0"]
    assert shapes["resnet_v1_50/block3/unit_6/bottleneck_v1/Relu:0"] == ["N", channels, height, width]


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = zoo.network("digits")
    weights = zoo.load_weights(digits, "")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as error:
        zoo.to_onnx(digits, weights)
    assert str(error.value) == "writing ONNX models needs the extra 'convert': pip install 'fieldwave[convert]'"


@dataclass(frozen=True)
class Swish(Layer):
    def shape(self, *inputs: Shape) -> Shape:
        return inputs[0]


def test_a_layer_that_nobody_can_emit_is_named() -> None:
    net = of_layers((Swish("last", ("images:0",)),))
    with pytest.raises(ModelError) as error:
        zoo.to_onnx(net, {})
    assert str(error.value) == "layer 'last': a Swish has no ONNX form"
    with pytest.raises(ModelError) as error:
        forward(net.layers[0], (np.zeros((1, *IMAGES.shape)),), {})
    assert str(error.value) == "layer 'last': a Swish has no forward pass in numpy"


def shape_of(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
