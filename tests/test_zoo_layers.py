from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwave.errors import ModelError
from fieldwave.zoo.layers import (
    Add,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Padding,
    Relu,
    Shape,
    Softmax,
    Squeeze,
)


def conv(
    kernel: int = 3,
    stride: int = 1,
    padding: Padding = "same",
    channels: int = 8,
    dilation: int = 1,
    groups: int = 1,
    biases: str = "",
) -> Conv:
    return Conv(
        "c",
        ("x:0",),
        kernel=kernel,
        stride=stride,
        padding=padding,
        channels=channels,
        dilation=dilation,
        groups=groups,
        weights="c/weights",
        biases=biases,
    )


def test_a_layer_writes_the_tensor_of_its_name() -> None:
    assert Relu("a/Relu", ("x:0",)).output == "a/Relu:0"


@pytest.mark.parametrize(
    ("layer", "inputs", "shape", "macs"),
    [
        (conv(), [(5, 7, 4)], (5, 7, 8), 5 * 7 * 8 * 9 * 4),
        (conv(kernel=7, stride=2, padding=(3, 3, 3, 3)), [(224, 200, 3)], (112, 100, 8), 112 * 100 * 8 * 147),
        (conv(padding=(0, 0, 0, 0)), [(5, 7, 4)], (3, 5, 8), 3 * 5 * 8 * 36),
        (conv(dilation=6), [(19, 19, 4)], (19, 19, 8), 361 * 8 * 36),
        (conv(dilation=2, padding=(0, 0, 0, 0)), [(5, 7, 4)], (1, 3, 8), 3 * 8 * 36),
        (conv(groups=4), [(5, 7, 4)], (5, 7, 8), 5 * 7 * 8 * 9),
        (MaxPool("p", ("x:0",), kernel=3, stride=2), [(112, 112, 64)], (56, 56, 64), 0),
        (MaxPool("p", ("x:0",), kernel=1, stride=2), [(7, 8, 64)], (4, 4, 64), 0),
        (AveragePool("p", ("x:0",), kernel=2, stride=2, padding=(0, 0, 0, 0)), [(7, 8, 3)], (3, 4, 3), 0),
        (GlobalAveragePool("g", ("x:0",)), [(7, 9, 64)], (1, 1, 64), 0),
        (BatchNorm("b", ("x:0",), scope="b"), [(7, 9, 64)], (7, 9, 64), 0),
        (Relu("r", ("x:0",)), [(7, 9, 64)], (7, 9, 64), 0),
        (Softmax("s", ("x:0",)), [(10,)], (10,), 0),
        (Add("a", ("x:0", "y:0")), [(7, 9, 64)] * 2, (7, 9, 64), 0),
        (Concat("c", ("x:0", "y:0")), [(7, 9, 64), (7, 9, 32)], (7, 9, 96), 0),
        (Squeeze("s", ("x:0",)), [(1, 1, 64)], (64,), 0),
        (Dense("d", ("x:0",), channels=10, weights="w"), [(64,)], (10,), 640),
    ],
)
def test_shapes_and_macs(layer: Layer, inputs: list[Shape], shape: Shape, macs: int) -> None:
    assert layer.shape(*inputs) == shape
    assert layer.macs(*inputs) == macs


def test_weights_have_names_and_shapes() -> None:
    assert conv(biases="c/biases").weight_shapes((5, 7, 4)) == {"c/weights": (3, 3, 4, 8), "c/biases": (8,)}
    assert conv(groups=4).weight_shapes((5, 7, 4)) == {"c/weights": (3, 3, 1, 8)}
    assert BatchNorm("b", ("x:0",), scope="s/BatchNorm").weight_shapes((5, 7, 4)) == {
        "s/BatchNorm/gamma": (4,),
        "s/BatchNorm/beta": (4,),
        "s/BatchNorm/moving_mean": (4,),
        "s/BatchNorm/moving_variance": (4,),
    }
    dense = Dense("d", ("x:0",), channels=10, weights="w", biases="b")
    assert dense.weight_shapes((64,)) == {"w": (64, 10), "b": (10,)}
    assert Relu("r", ("x:0",)).weight_shapes((64,)) == {}


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        # top, left, bottom, right: TensorFlow puts the odd pixel at the end.
        ((112, 112), 3, 2, (0, 0, 1, 1)),
        ((113, 112), 3, 2, (1, 0, 1, 1)),
        ((224, 224), 7, 2, (2, 2, 3, 3)),
        ((8, 8), 3, 1, (1, 1, 1, 1)),
        ((8, 8), 2, 1, (0, 0, 1, 1)),
        ((56, 56), 1, 2, (0, 0, 0, 0)),
    ],
)
def test_same_padding_is_that_of_tensorflow(
    size: tuple[int, int], kernel: int, stride: int, pads: tuple[int, int, int, int]
) -> None:
    assert conv(kernel=kernel, stride=stride).pads((*size, 3)) == pads


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
)
def test_same_padding_makes_size_over_stride_rounded_up(
    height: int, width: int, kernel: int, stride: int, dilation: int
) -> None:
    layer = conv(kernel=kernel, stride=stride, dilation=dilation)
    assert layer.shape((height, width, 4)) == (-(-height // stride), -(-width // stride), 8)
    top, left, bottom, right = layer.pads((height, width, 4))
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1


@pytest.mark.parametrize(
    ("layer", "inputs", "message"),
    [
        (
            conv(kernel=9, padding=(1, 1, 1, 1)),
            [(5, 7, 4)],
            "layer 'c': a window of 9x9 does not fit into 5x7 pixels with padding (1, 1, 1, 1)",
        ),
        (
            conv(groups=3, channels=9),
            [(5, 7, 4)],
            "layer 'c': 4 input and 9 output channels do not divide into 3 groups",
        ),
        (conv(), [(4,)], "layer 'c': needs (height, width, channels), gets (4,)"),
        (conv(), [(5, 7, 4), (5, 7, 4)], "layer 'c': takes one input, gets 2"),
        (Add("a", ("x:0",)), [(5, 7, 4)], "layer 'a': takes two inputs, gets 1"),
        (Add("a", ("x:0", "y:0")), [(5, 7, 4), (5, 7, 8)], "layer 'a': cannot add (5, 7, 4) and (5, 7, 8)"),
        (Concat("j", ("x:0",)), [(5, 7, 4)], "layer 'j': takes two or more inputs, gets 1"),
        (
            Concat("j", ("x:0", "y:0")),
            [(5, 7, 4), (5, 8, 4)],
            "layer 'j': cannot join (5, 7, 4) and (5, 8, 4)",
        ),
        (Squeeze("s", ("x:0",)), [(1, 2, 4)], "layer 's': needs (1, 1, channels), gets (1, 2, 4)"),
        (
            Dense("d", ("x:0",), channels=10, weights="w"),
            [(1, 1, 4)],
            "layer 'd': needs (channels,), gets (1, 1, 4)",
        ),
    ],
)
def test_inputs_that_do_not_fit_name_the_layer(layer: Layer, inputs: list[Shape], message: str) -> None:
    with pytest.raises(ModelError) as error:
        layer.shape(*inputs)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"kernel": 0}, "layer 'c': kernel is 0, must be at least 1"),
        ({"stride": 0}, "layer 'c': stride is 0, must be at least 1"),
        ({"padding": (0, -1, 0, 0)}, "layer 'c': padding is (0, -1, 0, 0), must not be negative"),
        ({"channels": 0}, "layer 'c': channels is 0, must be at least 1"),
        ({"dilation": 0}, "layer 'c': dilation is 0, must be at least 1"),
        ({"groups": 0}, "layer 'c': groups is 0, must be at least 1"),
    ],
)
def test_attributes_out_of_range_name_the_layer(attributes: dict[str, int], message: str) -> None:
    with pytest.raises(ModelError) as error:
        conv(**attributes)
    assert str(error.value) == message
