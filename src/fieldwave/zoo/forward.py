"""A network's layers in numpy, whose results no thread count, library or machine can change.

Every tensor is rounded to a multiple of :data:`GRID` and every weight must be a multiple of
:data:`WEIGHT_GRID`. Then the products and sums of a convolution are integers below 2^53 in units of the two
grids, exact in float64 in any order; what is left is arithmetic that IEEE-754 defines to the last bit.
Channels last.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

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
    Squeeze,
    Window,
)

__all__ = ["GRID", "WEIGHT_GRID", "forward", "to_grid"]

GRID = 2.0**-10
WEIGHT_GRID = 2.0**-16

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]


def forward(layer: Layer, inputs: tuple[Array, ...], weights: Weights) -> Array:
    """The output [batch, ...] of one layer, on the grid."""
    return to_grid(_forward(layer, inputs, weights))


def to_grid(values: Array) -> Array:
    """The nearest multiples of :data:`GRID`."""
    steps = values * (1 / GRID)
    np.rint(steps, out=steps)
    steps *= GRID
    return steps


@singledispatch
def _forward(layer: Layer, inputs: tuple[Array, ...], weights: Weights) -> Array:
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no forward pass in numpy")


@_forward.register
def _(layer: Conv, inputs: tuple[Array, ...], weights: Weights) -> Array:
    kernel = weights[layer.weights].astype(np.float64)
    height, width, _ = layer.shape(inputs[0].shape[1:])
    padded = _padded(layer, inputs[0], 0.0)
    groups = zip(np.split(padded, layer.groups, axis=3), np.split(kernel, layer.groups, axis=3), strict=True)
    parts = []
    for image, taps in groups:
        total = np.zeros((len(image) * height * width, taps.shape[3]))
        for row in range(layer.kernel):
            for column in range(layer.kernel):
                view = _tap(layer, image, row * layer.dilation, column * layer.dilation, height, width)
                total += view.reshape(len(total), -1) @ taps[row, column]
        parts.append(total.reshape(len(image), height, width, -1))
    output = np.concatenate(parts, axis=3) if len(parts) > 1 else parts[0]
    return output + weights[layer.biases] if layer.biases else output


@_forward.register
def _(layer: Dense, inputs: tuple[Array, ...], weights: Weights) -> Array:
    output = inputs[0] @ weights[layer.weights].astype(np.float64)
    return output + weights[layer.biases] if layer.biases else output


@_forward.register
def _(layer: BatchNorm, inputs: tuple[Array, ...], weights: Weights) -> Array:
    gamma, beta, mean, variance = (weights[name].astype(np.float64) for name in layer.names)
    return (inputs[0] - mean) * (gamma / np.sqrt(variance + layer.epsilon)) + beta


@_forward.register
def _(layer: Relu, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return np.maximum(inputs[0], 0)


@_forward.register
def _(layer: MaxPool, inputs: tuple[Array, ...], weights: Weights) -> Array:
    taps = _taps(layer, _padded(layer, inputs[0], -np.inf))
    output = taps[0]
    for tap in taps[1:]:
        output = np.maximum(output, tap)
    return output


@_forward.register
def _(layer: AveragePool, inputs: tuple[Array, ...], weights: Weights) -> Array:
    total = sum(_taps(layer, _padded(layer, inputs[0], 0.0)))
    pixels = sum(_taps(layer, _padded(layer, np.ones_like(inputs[0]), 0.0)))
    return np.asarray(total / pixels)


@_forward.register
def _(layer: GlobalAveragePool, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return np.asarray(inputs[0].mean(axis=(1, 2), keepdims=True))


@_forward.register
def _(layer: Add, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return inputs[0] + inputs[1]


@_forward.register
def _(layer: Concat, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return np.concatenate(inputs, axis=-1)


@_forward.register
def _(layer: Squeeze, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return inputs[0][:, 0, 0, :]


@_forward.register
def _(layer: Reshape, inputs: tuple[Array, ...], weights: Weights) -> Array:
    return inputs[0].reshape(len(inputs[0]), *layer.sizes)


@_forward.register
def _(layer: L2Normalize, inputs: tuple[Array, ...], weights: Weights) -> Array:
    length = np.sqrt((inputs[0] * inputs[0]).sum(axis=3, keepdims=True))
    return np.asarray(inputs[0] / np.maximum(length, layer.floor) * weights[layer.gamma])


def _padded(layer: Window, images: Array, value: float) -> Array:
    top, left, bottom, right = layer.pads(images.shape[1:])
    return np.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _taps(layer: Window, padded: Array) -> list[Array]:
    """The pixels under each position of the window: [batch, output height, output width, channels]."""
    height, width = ((size - layer.extent) // layer.stride + 1 for size in padded.shape[1:3])
    offsets = range(layer.kernel)
    return [_tap(layer, padded, row, column, height, width) for row in offsets for column in offsets]


def _tap(layer: Window, padded: Array, row: int, column: int, height: int, width: int) -> Array:
    rows = slice(row, row + layer.stride * (height - 1) + 1, layer.stride)
    columns = slice(column, column + layer.stride * (width - 1) + 1, layer.stride)
    return padded[:, rows, columns]
