"""ResNet-50 against what others publish: TensorFlow-slim's names, the paper's and torchvision's counts."""

from __future__ import annotations

from math import prod

import pytest

from fieldwave import zoo
from fieldwave.zoo.layers import Add, BatchNorm, Conv, MaxPool, Relu, Shape
from fieldwave.zoo.resnet import SLIM, TORCHVISION, Variant, resnet50

ORIGINAL = Variant(strided_unit="first", strided_conv="conv1", conv_padding="symmetric", pool_padding="symmetric")
UNITS = (3, 4, 6, 3)


@pytest.fixture(scope="module")
def network() -> zoo.Network:
    return zoo.network("resnet50")


def convs(network: zoo.Network) -> dict[str, Conv]:
    return {layer.weights: layer for layer in network.layers if isinstance(layer, Conv)}


def test_what_clients_see(network: zoo.Network) -> None:
    assert network.input == zoo.Tensor("Placeholder:0", ("images",), (224, 224, 3))
    assert network.outputs == (
        zoo.Tensor(
            "classifier/resnet_v1_50/predictions/Softmax:0",
            (
                "classifier_1/resnet_v1_50/predictions/Softmax:0",
                "resnet_v1_50/predictions/Softmax:0",
                "output_alias",
            ),
            (1000,),
        ),
    )
    assert network.features == "resnet_v1_50/pool5:0"
    assert network.shapes[network.features] == (1, 1, 2048)
    assert len(network.labels) == 1000
    assert (network.labels[0], network.labels[289], network.labels[999]) == (
        "tench",
        "snow leopard",
        "toilet tissue",
    )


def test_preprocessing_is_that_of_the_retired_service(network: zoo.Network) -> None:
    spec = network.preprocessing
    assert (spec.height, spec.width, spec.order, spec.resize, spec.shortest_side, spec.scale) == (
        224,
        224,
        "RGB",
        "crop",
        256,
        1.0,
    )
    assert spec.mean == (123.68, 116.779, 103.939)


def test_variables_are_those_of_a_slim_checkpoint(network: zoo.Network) -> None:
    expected: dict[str, Shape] = {}

    def convolution(scope: str, kernel: int, inputs: int, outputs: int) -> None:
        expected[f"resnet_v1_50/{scope}/weights"] = (kernel, kernel, inputs, outputs)
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            expected[f"resnet_v1_50/{scope}/BatchNorm/{name}"] = (outputs,)

    convolution("conv1", 7, 3, 64)
    channels = 64
    for block, (units, width) in enumerate(zip(UNITS, (64, 128, 256, 512), strict=True), start=1):
        for unit in range(1, units + 1):
            scope = f"block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                convolution(f"{scope}/shortcut", 1, channels, 4 * width)
            convolution(f"{scope}/conv1", 1, channels, width)
            convolution(f"{scope}/conv2", 3, width, width)
            convolution(f"{scope}/conv3", 1, width, 4 * width)
            channels = 4 * width
    expected["resnet_v1_50/logits/weights"] = (1, 1, 2048, 1000)
    expected["resnet_v1_50/logits/biases"] = (1000,)
    assert list(network.weight_shapes.items()) == list(expected.items())


def test_counts(network: zoo.Network) -> None:
    assert len(convs(network)) == 54  # 53 and the logits
    assert sum(isinstance(layer, BatchNorm) for layer in network.layers) == 53
    assert all(layer.epsilon == 1e-5 for layer in network.layers if isinstance(layer, BatchNorm))
    assert sum(isinstance(layer, Add) for layer in network.layers) == 16
    assert sum(isinstance(layer, Relu) for layer in network.layers) == 49
    assert len(network.weight_shapes) == 267
    trainable = {name: shape for name, shape in network.weight_shapes.items() if "/moving_" not in name}
    assert sum(map(prod, trainable.values())) == 25_557_032  # as torchvision's and Keras'


def test_slim_strides_in_the_last_unit_of_the_first_three_blocks(network: zoo.Network) -> None:
    strided = {name: layer for name, layer in convs(network).items() if layer.stride != 1}
    assert {name: (layer.kernel, layer.stride, layer.padding) for name, layer in strided.items()} == {
        "resnet_v1_50/conv1/weights": (7, 2, (3, 3, 3, 3)),
        "resnet_v1_50/block1/unit_3/bottleneck_v1/conv2/weights": (3, 2, (1, 1, 1, 1)),
        "resnet_v1_50/block2/unit_4/bottleneck_v1/conv2/weights": (3, 2, (1, 1, 1, 1)),
        "resnet_v1_50/block3/unit_6/bottleneck_v1/conv2/weights": (3, 2, (1, 1, 1, 1)),
    }
    pools = {layer.name: layer for layer in network.layers if isinstance(layer, MaxPool)}
    assert {name: (pool.kernel, pool.stride) for name, pool in pools.items()} == {
        "resnet_v1_50/pool1/MaxPool": (3, 2),
        "resnet_v1_50/block1/unit_3/bottleneck_v1/shortcut/MaxPool": (1, 2),
        "resnet_v1_50/block2/unit_4/bottleneck_v1/shortcut/MaxPool": (1, 2),
        "resnet_v1_50/block3/unit_6/bottleneck_v1/shortcut/MaxPool": (1, 2),
    }
    assert pools["resnet_v1_50/pool1/MaxPool"].pads((112, 112, 64)) == (0, 0, 1, 1)


def test_tensors_have_the_shapes_of_the_slim_graph(network: zoo.Network) -> None:
    scope = "resnet_v1_50"
    assert {
        name: network.shapes[name]
        for name in (
            f"{scope}/conv1/Relu:0",
            f"{scope}/pool1/MaxPool:0",
            f"{scope}/block1/unit_2/bottleneck_v1/Relu:0",
            f"{scope}/block1/unit_3/bottleneck_v1/Relu:0",
            f"{scope}/block2/unit_4/bottleneck_v1/Relu:0",
            f"{scope}/block3/unit_6/bottleneck_v1/Relu:0",
            f"{scope}/block4/unit_3/bottleneck_v1/Relu:0",
            f"classifier/{scope}/logits/BiasAdd:0",
            f"classifier/{scope}/SpatialSqueeze:0",
        )
    } == {
        f"{scope}/conv1/Relu:0": (112, 112, 64),
        f"{scope}/pool1/MaxPool:0": (56, 56, 64),
        f"{scope}/block1/unit_2/bottleneck_v1/Relu:0": (56, 56, 256),
        f"{scope}/block1/unit_3/bottleneck_v1/Relu:0": (28, 28, 256),
        f"{scope}/block2/unit_4/bottleneck_v1/Relu:0": (14, 14, 512),
        f"{scope}/block3/unit_6/bottleneck_v1/Relu:0": (7, 7, 1024),
        f"{scope}/block4/unit_3/bottleneck_v1/Relu:0": (7, 7, 2048),
        f"classifier/{scope}/logits/BiasAdd:0": (1, 1, 1000),
        f"classifier/{scope}/SpatialSqueeze:0": (1000,),
    }


@pytest.mark.parametrize(
    ("variant", "macs"),
    [
        # Halving at the end of a stage lets the next stage's first unit, projection included, run on a
        # quarter of the pixels that it sees in the other two: 3.48 billion where they have 3.86 and 4.09.
        (SLIM, 3_482_255_360),
        # torchvision documents 4.09 GMAC ("GFLOPS") for its resnet50.
        (TORCHVISION, 4_089_184_256),
        # He et al. 2015, table 1: 3.8 billion multiply-adds.
        (ORIGINAL, 3_857_973_248),
    ],
)
def test_multiply_accumulates_tell_the_variants_apart(variant: Variant, macs: int) -> None:
    assert resnet50(variant).macs == macs


def test_variants_share_their_variables() -> None:
    shapes = dict(resnet50(SLIM).weight_shapes)
    assert dict(resnet50(TORCHVISION).weight_shapes) == shapes
    assert dict(resnet50(ORIGINAL).weight_shapes) == shapes


def test_same_padding_is_asymmetric_on_strided_convolutions() -> None:
    variant = Variant(strided_unit="last", strided_conv="conv2", conv_padding="same", pool_padding="same")
    conv1 = convs(resnet50(variant))["resnet_v1_50/conv1/weights"]
    assert conv1.pads((224, 224, 3)) == (2, 2, 3, 3)
