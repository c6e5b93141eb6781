"""A network as a PyTorch module. Imports PyTorch: only :mod:`fieldwave.zoo.torch_emitter` imports this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from fieldwave.errors import ModelError
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

__all__ = ["NetworkModule"]

Array = NDArray[np.float32]


class NetworkModule(nn.Module):  # type: ignore[misc]
    """A network of the zoo in PyTorch.

    Attributes:
        network: its description.
        featurizer: the layers with weights up to the features, each under the scope of its weights:
            ``module.featurizer["resnet_v1_50/conv1"]`` is an ``nn.Conv2d`` and
            ``module.featurizer["resnet_v1_50/conv1/BatchNorm"]`` an ``nn.BatchNorm2d``.
        classifier: those behind the features; empty for a detector.
    """

    def __init__(self, network: Network, weights: Mapping[str, Array]) -> None:
        super().__init__()
        self.network = network
        self.featurizer = nn.ModuleDict(_modules(network, network.featurizer, weights))
        self.classifier = nn.ModuleDict(_modules(network, network.classifier, weights))

    def forward(self, images: Any) -> Any:
        """The output, or the outputs as a tuple, of images [batch, height, width, channels]."""
        wanted = [output.name for output in self.network.outputs]
        results = self._run(self.network.layers, {self.network.input.name: _first(images)}, wanted)
        outputs = tuple(_last(tensor) for tensor in results)
        return outputs if len(outputs) > 1 else outputs[0]

    def logits(self, images: Any) -> Any:
        """What the Softmax at the end reads, for losses that contain one; where there is none, the output."""
        last = self.network.layers[-1]
        wanted = last.inputs[0] if isinstance(last, Softmax) else self.network.outputs[0].name
        tensors = {self.network.input.name: _first(images)}
        return _last(self._run(self.network.layers, tensors, [wanted])[0])

    def features(self, images: Any) -> Any:
        """What the featurizer makes of images: [batch, 1, 1, channels].

        Raises:
            ModelError: the network is a detector, which has none.
        """
        if not self.network.features:
            raise ModelError(
                f"network {self.network.name!r} has no features: its outputs are the featurizer's own"
            )
        tensors = {self.network.input.name: _first(images)}
        return _last(self._run(self.network.featurizer, tensors, [self.network.features])[0])

    def weights(self) -> dict[str, Array]:
        """Copies of the parameters and running statistics, by the network's names, in its order."""
        weights: dict[str, Array] = {}
        for layer in self.network.layers:
            if (module := self._module(layer)) is not None:
                tensors = dict(zip(_names(layer), _tensors(module), strict=True))
                weights |= {name: _stored(layer, tensor) for name, tensor in tensors.items()}
        return weights

    def _run(self, layers: tuple[Layer, ...], tensors: dict[str, Any], wanted: list[str]) -> list[Any]:
        last_reader = {tensor: layer for layer in layers for tensor in layer.inputs}
        for layer in layers:
            inputs = [tensors[name] for name in layer.inputs]
            shapes = self.network.input_shapes(layer)
            tensors[layer.output] = _compute(layer, self._module(layer), inputs, shapes)
            for name in layer.inputs:
                if last_reader[name] is layer and name not in wanted:
                    tensors.pop(name, None)
        return [tensors[name] for name in wanted]

    def _module(self, layer: Layer) -> Any:
        if not _names(layer):
            return None
        scope = _scope(layer)
        return self.featurizer[scope] if scope in self.featurizer else self.classifier[scope]


def _first(images: Any) -> Any:
    return images.permute(0, 3, 1, 2)


def _last(tensor: Any) -> Any:
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def _scope(layer: Layer) -> str:
    """The scope of a layer's weights; the layer's name where they have none."""
    return _names(layer)[0].rpartition("/")[0] or layer.name


def _names(layer: Layer) -> tuple[str, ...]:
    """The names of a layer's weights, in the order of :func:`_tensors`."""
    if isinstance(layer, Conv | Dense):
        return (layer.weights, layer.biases) if layer.biases else (layer.weights,)
    if isinstance(layer, BatchNorm):
        return layer.names
    return (layer.gamma,) if isinstance(layer, L2Normalize) else ()


def _tensors(module: Any) -> tuple[Any, ...]:
    """A module's parameters and statistics, those that the zoo names."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return module.weight, module.bias, module.running_mean, module.running_var
    bias = getattr(module, "bias", None)
    return (module.weight,) if bias is None else (module.weight, bias)


def _modules(network: Network, layers: tuple[Layer, ...], weights: Mapping[str, Array]) -> dict[str, Any]:
    made = {}
    for layer in layers:
        if not _names(layer):
            continue
        module = _make(layer, network.input_shapes(layer))
        with torch.no_grad():
            for name, tensor in zip(_names(layer), _tensors(module), strict=True):
                tensor.copy_(torch.from_numpy(_turned(layer, weights[name]).copy()))
        made[_scope(layer)] = module
    return made


def _turned(layer: Layer, weight: Array) -> Array:
    """A kernel in PyTorch's layout, output channels first; all else as it is."""
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1)
    return weight.T if weight.ndim == 2 else weight


def _stored(layer: Layer, tensor: Any) -> Array:
    weight = tensor.detach().cpu().numpy().astype(np.float32)
    if weight.ndim == 4:
        weight = weight.transpose(2, 3, 1, 0)
    return np.array(weight.T if weight.ndim == 2 else weight, order="C")


class _L2Normalize(nn.Module):  # type: ignore[misc]
    def __init__(self, channels: int, floor: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.floor = floor

    def forward(self, tensor: Any) -> Any:
        return functional.normalize(tensor, dim=1, eps=self.floor) * self.weight[:, None, None]


@singledispatch
def _make(layer: Layer, shapes: tuple[Shape, ...]) -> Any:
    """The PyTorch module of a layer that has weights, not yet those of the network."""
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no PyTorch form")


@_make.register
def _(layer: Conv, shapes: tuple[Shape, ...]) -> Any:
    return nn.Conv2d(
        shapes[0][2],
        layer.channels,
        layer.kernel,
        stride=layer.stride,
        padding=_symmetric(layer, shapes) or 0,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=bool(layer.biases),
    )


@_make.register
def _(layer: Dense, shapes: tuple[Shape, ...]) -> Any:
    return nn.Linear(shapes[0][0], layer.channels, bias=bool(layer.biases))


@_make.register
def _(layer: BatchNorm, shapes: tuple[Shape, ...]) -> Any:
    kind = nn.BatchNorm2d if len(shapes[0]) == 3 else nn.BatchNorm1d
    return kind(shapes[0][-1], eps=layer.epsilon)


@_make.register
def _(layer: L2Normalize, shapes: tuple[Shape, ...]) -> Any:
    return _L2Normalize(shapes[0][2], layer.floor)


@singledispatch
def _compute(layer: Layer, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no PyTorch form")


@_compute.register(Dense)
@_compute.register(BatchNorm)
@_compute.register(L2Normalize)
def _(layer: Layer, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return module(inputs[0])


@_compute.register
def _(layer: Conv, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    if _symmetric(layer, shapes) is None:
        return module(_padded(layer, inputs[0], shapes, 0.0))
    return module(inputs[0])


@_compute.register
def _(layer: MaxPool, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    side = _symmetric(layer, shapes)
    if side is not None and side <= layer.kernel // 2:
        return functional.max_pool2d(inputs[0], layer.kernel, layer.stride, side)
    return functional.max_pool2d(_padded(layer, inputs[0], shapes, float("-inf")), layer.kernel, layer.stride)


@_compute.register
def _(layer: AveragePool, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    mean = functional.avg_pool2d(_padded(layer, inputs[0], shapes, 0.0), layer.kernel, layer.stride)
    if not any(layer.pads(shapes[0])):
        return mean
    pixels = _padded(layer, torch.ones_like(inputs[0][:1, :1]), shapes, 0.0)
    return mean / functional.avg_pool2d(pixels, layer.kernel, layer.stride)


@_compute.register
def _(layer: Relu, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return functional.relu(inputs[0])


@_compute.register
def _(layer: GlobalAveragePool, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return inputs[0].mean((2, 3), keepdim=True)


@_compute.register
def _(layer: Add, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return inputs[0] + inputs[1]


@_compute.register
def _(layer: Concat, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return torch.cat(inputs, 1)


@_compute.register
def _(layer: Squeeze, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return inputs[0].flatten(1)


@_compute.register
def _(layer: Reshape, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    tensor = _last(inputs[0]).reshape(-1, *layer.sizes)
    return _first(tensor) if len(layer.sizes) == 3 else tensor


@_compute.register
def _(layer: Softmax, module: Any, inputs: list[Any], shapes: tuple[Shape, ...]) -> Any:
    return functional.softmax(inputs[0], dim=1)


def _symmetric(layer: Window, shapes: tuple[Shape, ...]) -> int | None:
    """The padding of all four sides where it is the same, else None."""
    pads = set(layer.pads(shapes[0]))
    return pads.pop() if len(pads) == 1 else None


def _padded(layer: Window, image: Any, shapes: tuple[Shape, ...], value: float) -> Any:
    top, left, bottom, right = layer.pads(shapes[0])
    return functional.pad(image, (left, right, top, bottom), value=value) if top + left + bottom + right else image
