"""The float ONNX graph of a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import MissingExtraError, ModelError
from fieldwave.graph import from_onnx
from fieldwave.model import FloatModel
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
    Relu,
    Shape,
    Softmax,
    Squeeze,
    Window,
)
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights import check_weights

if TYPE_CHECKING:
    import onnx

__all__ = ["float_model", "to_onnx"]

_OPSET = 17
_IR_VERSION = 8  # the one that came with opset 17; every ONNX Runtime since 1.12 reads it


def to_onnx(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """The network as a float32 ONNX model.

    Input ``[N, height, width, channels]`` and outputs carry the network's tensor names; inside, the graph is
    channels-first, every tensor keeps the network's name for it, every node is called like its layer, and
    every initializer like its weight. The same network and weights give the same bytes.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise MissingExtraError("emitting ONNX", "convert") from error
    check_weights(network, weights)
    names = _Names(network)
    images = network.input
    nodes = [
        helper.make_node(
            "Transpose", [images.name], [names[images.name]], f"{images.name}/nchw", perm=(0, 3, 1, 2)
        )
    ]
    initializers = []
    for layer in network.layers:
        node = _node(layer, network.input_shapes(layer))
        inputs = [names[tensor] for tensor in layer.inputs] + [name for name, _ in node.weights]
        nodes.append(helper.make_node(node.operator, inputs, [names[layer.output]], layer.name, **node.attributes))
        initializers += [
            numpy_helper.from_array(
                np.ascontiguousarray(weights[name].transpose(axes) if axes else weights[name]), name
            )
            for name, axes in node.weights
        ]
    for output in network.outputs:
        if names[output.name] != output.name:
            nodes.append(
                helper.make_node(
                    "Transpose", [names[output.name]], [output.name], f"{output.name}/nhwc", perm=(0, 2, 3, 1)
                )
            )
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info(images.name, onnx.TensorProto.FLOAT, ["N", *images.shape])],
        [
            helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, ["N", *output.shape])
            for output in network.outputs
        ],
        initializers,
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="fieldwave",
    )


def float_model(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> FloatModel:
    """The network with its weights, ready to be quantized.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
        MissingExtraError: onnx is not installed.
    """
    return FloatModel(
        name=network.name,
        graph=from_onnx(to_onnx(network, weights)),
        preprocessing=network.preprocessing,
        labels=network.labels,
        aliases={tensor.name: tensor.aliases for tensor in (network.input, *network.outputs)},
    )


class _Names:
    """What a tensor is called inside the graph.

    The input, and an output that has spatial dimensions, exist twice: channels-last for the caller under the
    network's name, and channels-first inside.
    """

    def __init__(self, network: Network) -> None:
        self._twice = {network.input.name} | {o.name for o in network.outputs if len(o.shape) == 3}

    def __getitem__(self, tensor: str) -> str:
        return f"{tensor}/nchw" if tensor in self._twice else tensor


@dataclass(frozen=True)
class _Node:
    """An ONNX operator; ``weights`` follow the layer's inputs, each with the order of its axes."""

    operator: str
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: tuple[tuple[str, tuple[int, ...]], ...] = ()


@singledispatch
def _node(layer: Layer, inputs: tuple[Shape, ...]) -> _Node:
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no ONNX form")


@_node.register
def _(layer: Conv, inputs: tuple[Shape, ...]) -> _Node:
    weights: tuple[tuple[str, tuple[int, ...]], ...] = ((layer.weights, (3, 2, 0, 1)),)
    if layer.biases:
        weights += ((layer.biases, ()),)
    attributes = {"dilations": (layer.dilation,) * 2, "group": layer.groups, **_window(layer, inputs)}
    return _Node("Conv", attributes, weights)


@_node.register
def _(layer: MaxPool, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("MaxPool", _window(layer, inputs))


@_node.register
def _(layer: AveragePool, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("AveragePool", {"count_include_pad": 0, **_window(layer, inputs)})


@_node.register
def _(layer: BatchNorm, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("BatchNormalization", {"epsilon": layer.epsilon}, tuple((name, ()) for name in layer.names))


@_node.register
def _(layer: Dense, inputs: tuple[Shape, ...]) -> _Node:
    names = (layer.weights, layer.biases) if layer.biases else (layer.weights,)
    return _Node("Gemm", {}, tuple((name, ()) for name in names))


@_node.register
def _(layer: Relu, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("Relu")


@_node.register
def _(layer: GlobalAveragePool, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("GlobalAveragePool")


@_node.register
def _(layer: Add, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("Add")


@_node.register
def _(layer: Concat, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("Concat", {"axis": 1})


@_node.register
def _(layer: Squeeze, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("Flatten", {"axis": 1})


@_node.register
def _(layer: Softmax, inputs: tuple[Shape, ...]) -> _Node:
    return _Node("Softmax", {"axis": 1})


def _window(layer: Window, inputs: tuple[Shape, ...]) -> dict[str, tuple[int, ...]]:
    return {
        "kernel_shape": (layer.kernel, layer.kernel),
        "strides": (layer.stride, layer.stride),
        "pads": layer.pads(inputs[0]),
    }
