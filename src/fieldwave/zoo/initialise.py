"""Random weights with which a network still tells photographs apart.

He initialisation keeps the variance through a ReLU only on average over networks; a given deep one drifts. So
each layer is set by what a forward pass over seeded images (:func:`fieldwave.zoo.scenes.dead_leaves`) brings
to it, in the manner of LSUV (Mishkin, Matas: All you need is a good init, 2015): batch-norm gets its true
statistics, a layer with a bias is centred and scaled. Residual branches enter the sum at a quarter of its
amplitude, so that the sum does not grow with depth. The larger the network, the fewer images: a few seconds must
do for each.
"""

from __future__ import annotations

from math import fsum

import numpy as np
from numpy.typing import NDArray

from fieldwave.preprocess import normalise
from fieldwave.zoo.forward import GRID, WEIGHT_GRID, forward, to_grid
from fieldwave.zoo.layers import Add, BatchNorm, Conv, Dense, L2Normalize, Relu
from fieldwave.zoo.network import Network
from fieldwave.zoo.random_bits import bell
from fieldwave.zoo.scenes import dead_leaves

__all__ = ["random_weights"]

Array = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]

_MOST_IMAGES, _FEWEST_IMAGES = 8, 2
_MACS = 60e9
_BRANCH_GAIN = 0.25
_LOGIT_DEVIATION = 2.0  # a softmax over 1000 classes that is neither uniform nor sure of itself


def random_weights(network: Network, seed: int) -> Weights:
    """All weights of ``network``, by name; the same seed gives the same bytes whatever computes them."""
    images = max(_FEWEST_IMAGES, min(_MOST_IMAGES, int(_MACS / network.macs)))
    pixels = dead_leaves(seed, images, network.input.shape)
    tensors = {network.input.name: to_grid(normalise(pixels, network.preprocessing).astype(np.float64))}
    branches = {layer.inputs[1] for layer in network.layers if isinstance(layer, Add)}
    hidden = {tensor for layer in network.layers if isinstance(layer, Relu | BatchNorm) for tensor in layer.inputs}
    last_reader = {tensor: layer for layer in network.layers for tensor in layer.inputs}
    weights: Weights = {}
    for layer in network.layers:
        if len(weights) == len(network.weight_shapes):
            break
        inputs = tuple(tensors[tensor] for tensor in layer.inputs)
        if isinstance(layer, Conv | Dense) and layer.biases and layer.output in hidden:
            made, tensors[layer.output] = _hidden(layer, inputs[0], seed)
            weights |= made
        else:
            if isinstance(layer, Conv | Dense):
                weights |= _linear(layer, inputs[0], seed)
            elif isinstance(layer, BatchNorm):
                weights |= _statistics(layer, inputs[0], _BRANCH_GAIN if layer.output in branches else 1.0)
            elif isinstance(layer, L2Normalize):
                channels = inputs[0].shape[-1]
                weights[layer.gamma] = np.full(channels, np.sqrt(channels), np.float32)
            tensors[layer.output] = forward(layer, inputs, weights)
        for tensor in layer.inputs:
            if last_reader[tensor] is layer:
                tensors.pop(tensor, None)
    return weights


def _hidden(layer: Conv | Dense, source: Array, seed: int) -> tuple[Weights, Array]:
    """Weights and biases that centre each channel, at deviation 1, and what they make of ``source``.

    The output is that of the kernel before it is scaled, scaled: one pass instead of three, and close enough.
    """
    kernel, zero = _he(layer, source, seed)
    output = forward(layer, (source,), {layer.weights: _on_weight_grid(kernel), layer.biases: zero})
    mean, variance = _moments(output)
    scale = 1 / np.sqrt(fsum(variance) / len(variance))
    kernel *= scale
    output -= mean
    output *= scale
    weights = {layer.weights: _on_weight_grid(kernel), layer.biases: (-mean * scale).astype(np.float32)}
    return weights, to_grid(output)


def _linear(layer: Conv | Dense, source: Array, seed: int) -> Weights:
    kernel, zero = _he(layer, source, seed)
    if not layer.biases:
        return {layer.weights: _on_weight_grid(kernel)}
    output = forward(layer, (source,), {layer.weights: _on_weight_grid(kernel), layer.biases: zero})
    _, variance = _moments(output)
    scaled = _on_weight_grid(kernel * (_LOGIT_DEVIATION / np.sqrt(fsum(variance) / len(variance))))
    output = forward(layer, (source,), {layer.weights: scaled, layer.biases: zero})
    return {layer.weights: scaled, layer.biases: (-_moments(output)[0]).astype(np.float32)}


def _he(layer: Conv | Dense, source: Array, seed: int) -> tuple[Array, NDArray[np.float32]]:
    """The kernel of He initialisation, and biases of zero."""
    shape = layer.weight_shapes(source.shape[1:])[layer.weights]
    kernel = bell(seed, layer.weights, shape)
    kernel *= np.sqrt(2 / int(np.prod(shape[:-1])))
    return kernel, np.zeros(shape[-1], np.float32)


def _statistics(layer: BatchNorm, source: Array, gain: float) -> Weights:
    mean, variance = _moments(source)
    gamma, beta = np.full_like(mean, gain), np.zeros_like(mean)
    values = (gamma, beta, mean, variance)
    return {name: value.astype(np.float32) for name, value in zip(layer.names, values, strict=True)}


def _moments(values: Array) -> tuple[Array, Array]:
    """Mean and variance per channel. Sums of whole numbers below 2^53, so their order does not matter."""
    steps = (values * (1 / GRID)).reshape(-1, values.shape[-1])
    mean, square = (sums / len(steps) for sums in (steps.sum(axis=0), (steps * steps).sum(axis=0)))
    return mean * GRID, np.maximum(square - mean * mean, 1.0) * GRID**2


def _on_weight_grid(kernel: Array) -> NDArray[np.float32]:
    steps = kernel * (1 / WEIGHT_GRID)
    np.rint(steps, out=steps)
    steps *= WEIGHT_GRID
    return steps.astype(np.float32)
