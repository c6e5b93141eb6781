"""The float graph of a network in ONNX's operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldwave import graph
from fieldwave.errors import ModelError
from fieldwave.graph import Graph, Node, Value
from fieldwave.model import FloatModel
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
    Window,
)
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights import check_weights

if TYPE_CHECKING:
    import onnx

__all__ = ["float_model", "to_graph", "to_onnx"]

Array = NDArray[Any]


def to_graph(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> Graph:
    """The network as a float32 graph.

    Input ``[None, height, width, channels]`` and outputs carry the network's tensor names; inside, the graph is
    channels-first, every tensor keeps the network's name for it, the node that makes it is called like its layer,
    and every constant like its weight.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
    """
    check_weights(network, weights)
    names = _Names(network)
    images = network.input
    nodes = [_node("Transpose", f"{images.name}/nchw", (images.name,), names[images.name], perm=[0, 3, 1, 2])]
    constants: dict[str, Array] = {}
    for layer in network.layers:
        reads = tuple(names[tensor] for tensor in layer.inputs)
        part = _emit(layer, _Place(reads, names[layer.output], network.input_shapes(layer), weights))
        nodes += part.nodes
        constants |= part.constants
    for output in network.outputs:
        if names[output.name] != output.name:
            inside = (names[output.name],)
            nodes.append(_node("Transpose", f"{output.name}/nhwc", inside, output.name, perm=[0, 2, 3, 1]))
    return Graph(
        network.name,
        (Value(images.name, "float32", (None, *images.shape)),),
        tuple(Value(output.name, "float32", (None, *output.shape)) for output in network.outputs),
        tuple(nodes),
        {name: np.ascontiguousarray(value) for name, value in constants.items()},
    )


def to_onnx(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """:func:`to_graph` as an ONNX model. The same network and weights give the same bytes.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
        MissingExtraError: onnx is not installed.
    """
    return graph.to_onnx(to_graph(network, weights))


def float_model(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> FloatModel:
    """The network with its weights, ready to be quantized.

    Raises:
        WeightsError: a weight is missing, of another shape or dtype, or not finite.
    """
    return FloatModel(
        name=network.name,
        graph=to_graph(network, weights),
        preprocessing=network.preprocessing,
        labels=network.labels,
        aliases={tensor.name: tensor.aliases for tensor in (network.input, *network.outputs)},
        detector=network.detector,
    )


class _Names:
    """What a tensor is called inside the graph.

    The input, and an output that is an image, exist twice: channels-last for the caller under the network's name,
    and channels-first inside.
    """

    def __init__(self, network: Network) -> None:
        self._twice = {network.input.name} | {o.name for o in network.outputs if len(o.shape) == 3}

    def __getitem__(self, tensor: str) -> str:
        return f"{tensor}/nchw" if tensor in self._twice else tensor


@dataclass(frozen=True)
class _Place:
    """Where a layer stands: names of the tensors it reads and writes, their shapes, and all weights."""

    reads: tuple[str, ...]
    writes: str
    shapes: tuple[Shape, ...]
    weights: Mapping[str, NDArray[np.float32]]

    def node(self, op: str, layer: Layer, *constants: str, **attributes: Any) -> Node:
        """The layer as one node, which reads ``constants`` behind the layer's inputs."""
        return _node(op, layer.name, (*self.reads, *constants), self.writes, **attributes)


@dataclass(frozen=True)
class _Part:
    """The nodes of one layer, and their constants."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]


def _node(op: str, name: str, reads: tuple[str, ...], writes: str, **attributes: Any) -> Node:
    return Node(op, name, reads, (writes,), attributes)


@singledispatch
def _emit(layer: Layer, place: _Place) -> _Part:
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no ONNX form")


@_emit.register
def _(layer: Conv, place: _Place) -> _Part:
    constants = {layer.weights: place.weights[layer.weights].transpose(3, 2, 0, 1)}
    if layer.biases:
        constants[layer.biases] = place.weights[layer.biases]
    attributes = {"dilations": [layer.dilation] * 2, "group": layer.groups, **_window(layer, place)}
    return _Part((place.node("Conv", layer, *constants, **attributes),), constants)


@_emit.register
def _(layer: MaxPool, place: _Place) -> _Part:
    return _Part((place.node("MaxPool", layer, **_window(layer, place)),), {})


@_emit.register
def _(layer: AveragePool, place: _Place) -> _Part:
    return _Part((place.node("AveragePool", layer, count_include_pad=0, **_window(layer, place)),), {})


@_emit.register
def _(layer: BatchNorm, place: _Place) -> _Part:
    node = place.node("BatchNormalization", layer, *layer.names, epsilon=layer.epsilon)
    return _Part((node,), {name: place.weights[name] for name in layer.names})


@_emit.register
def _(layer: Dense, place: _Place) -> _Part:
    names = (layer.weights, layer.biases) if layer.biases else (layer.weights,)
    return _Part((place.node("Gemm", layer, *names),), {name: place.weights[name] for name in names})


@_emit.register
def _(layer: L2Normalize, place: _Place) -> _Part:
    """With the bound on the length, as TensorFlow and PyTorch have it, which ONNX's LpNormalization lacks."""
    (image,) = place.reads
    length, bounded, unit, floor = (f"{layer.name}/{part}" for part in ("length", "bounded", "unit", "floor"))
    nodes = (
        _node("ReduceL2", length, (image,), length, axes=[1], keepdims=1),
        _node("Clip", bounded, (length, floor), bounded),
        _node("Div", unit, (image, bounded), unit),
        _node("Mul", layer.name, (unit, layer.gamma), place.writes),
    )
    gamma = place.weights[layer.gamma].reshape(-1, 1, 1)
    return _Part(nodes, {floor: np.asarray(layer.floor, np.float32), layer.gamma: gamma})


@_emit.register
def _(layer: Reshape, place: _Place) -> _Part:
    """The values of an image are counted channels-last: it is turned before, and back where the result is one."""
    (tensor,), (shape,) = place.reads, place.shapes
    sizes = f"{layer.name}/sizes"
    nodes = []
    if len(shape) == 3:
        turned = f"{layer.name}/nhwc"
        nodes.append(_node("Transpose", turned, (tensor,), turned, perm=[0, 2, 3, 1]))
        tensor = turned
    result = f"{layer.name}/shaped" if len(layer.sizes) == 3 else place.writes
    nodes.append(_node("Reshape", layer.name, (tensor, sizes), result))
    if len(layer.sizes) == 3:
        nodes.append(_node("Transpose", f"{layer.name}/nchw", (result,), place.writes, perm=[0, 3, 1, 2]))
    return _Part(tuple(nodes), {sizes: np.asarray([0, *layer.sizes], np.int64)})  # 0: the batch, as it is


@_emit.register
def _(layer: Relu, place: _Place) -> _Part:
    return _Part((place.node("Relu", layer),), {})


@_emit.register
def _(layer: GlobalAveragePool, place: _Place) -> _Part:
    return _Part((place.node("GlobalAveragePool", layer),), {})


@_emit.register
def _(layer: Add, place: _Place) -> _Part:
    return _Part((place.node("Add", layer),), {})


@_emit.register
def _(layer: Concat, place: _Place) -> _Part:
    return _Part((place.node("Concat", layer, axis=1),), {})


@_emit.register
def _(layer: Squeeze, place: _Place) -> _Part:
    return _Part((place.node("Flatten", layer, axis=1),), {})


@_emit.register
def _(layer: Softmax, place: _Place) -> _Part:
    return _Part((place.node("Softmax", layer, axis=1),), {})


def _window(layer: Window, place: _Place) -> dict[str, list[int]]:
    return {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "pads": list(layer.pads(place.shapes[0])),
    }
