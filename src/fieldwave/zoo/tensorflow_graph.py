"""Layers as TensorFlow's operators. Imports TensorFlow: only ``tensorflow_emitter`` imports this file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any

import tensorflow as tf

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

if TYPE_CHECKING:
    from fieldwave.quantize.calibrate import Scale

__all__ = ["Builder"]

_DECAY = 0.997
"""Of the moving averages in training, as slim has it for ResNet."""


class Builder:
    """The tensors and variables of a network that grows layer by layer in the default graph."""

    def __init__(
        self,
        network: Network,
        tensors: Mapping[str, Any],
        is_training: bool | None,
        trainable: bool,
        scales: Mapping[str, Scale] | None,
    ) -> None:
        self.network = network
        self.scales = scales
        self.trainable = trainable
        self.variables: dict[str, Any] = {}
        self.is_training: Any = None
        if is_training is not None:
            self.is_training = tf.compat.v1.placeholder_with_default(is_training, (), "is_training")
        self.tensors = {name: self.quantized(name, tensor) for name, tensor in tensors.items()}

    def add(self, layer: Layer) -> None:
        """Build a layer on the tensors that it reads."""
        inputs = [self.tensors[name] for name in layer.inputs]
        rounded = self.scales is not None and layer.output in self.scales
        name = f"{layer.name}/float" if rounded else layer.name
        tensor = _build(layer, name, inputs, self)
        self.tensors[layer.output] = self.quantized(layer.output, tensor)

    def shapes(self, layer: Layer) -> tuple[Shape, ...]:
        """Shapes of the tensors that a layer reads."""
        return self.network.input_shapes(layer)

    def variable(self, layer: Layer, name: str, *, statistic: bool = False) -> Any:
        """The variable of a weight, zeros at first: a graph that held the weights would be as large as they."""
        shape = layer.weight_shapes(*self.shapes(layer))[name]
        self.variables[name] = tf.compat.v1.get_variable(
            name,
            shape,
            tf.float32,
            tf.compat.v1.zeros_initializer(),
            trainable=self.trainable and not statistic,
            use_resource=True,
        )
        return self.variables[name]

    def kernel(self, layer: Conv | Dense) -> Any:
        """The weights, fake-quantized in a quantized network: 255 steps for each output channel, around zero."""
        kernel = self.variable(layer, layer.weights)
        if self.scales is None:
            return kernel
        peak = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, -peak, peak, narrow_range=True, name=f"{layer.weights}/quantized"
        )

    def quantized(self, name: str, tensor: Any) -> Any:
        """A tensor, rounded to the bytes of its scale where it has one."""
        if self.scales is None or name not in self.scales:
            return tensor
        scale = self.scales[name]
        low, high = -scale.zero_point * scale.value, (255 - scale.zero_point) * scale.value
        own = name.removesuffix(":0")
        # What is handed in has the name already.
        own = f"{own}/quantized" if tensor.name == name else own
        return tf.quantization.fake_quant_with_min_max_vars(tensor, low, high, name=own)


@singledispatch
def _build(layer: Layer, name: str, inputs: list[Any], builder: Builder) -> Any:
    raise ModelError(f"layer {layer.name!r}: a {type(layer).__name__} has no TensorFlow form")


@_build.register
def _(layer: Conv, name: str, inputs: list[Any], builder: Builder) -> Any:
    padding = _padding(layer, builder.shapes(layer))
    scope = name.rpartition("/BiasAdd")[0] or name
    output = tf.nn.conv2d(
        inputs[0],
        builder.kernel(layer),
        layer.stride,
        padding,
        dilations=layer.dilation,
        name=f"{scope}/Conv2D" if layer.biases else name,
    )
    return tf.nn.bias_add(output, builder.variable(layer, layer.biases), name=name) if layer.biases else output


@_build.register
def _(layer: Dense, name: str, inputs: list[Any], builder: Builder) -> Any:
    scope = name.rpartition("/BiasAdd")[0] or name
    output = tf.matmul(inputs[0], builder.kernel(layer), name=f"{scope}/MatMul" if layer.biases else name)
    return tf.nn.bias_add(output, builder.variable(layer, layer.biases), name=name) if layer.biases else output


@_build.register
def _(layer: BatchNorm, name: str, inputs: list[Any], builder: Builder) -> Any:
    gamma, beta = (builder.variable(layer, weight) for weight in layer.names[:2])
    mean, variance = (builder.variable(layer, weight, statistic=True) for weight in layer.names[2:])
    if builder.is_training is None:
        # Not tf.nn's function, which raises a smaller epsilon to that of cuDNN.
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs[0],
            scale=gamma,
            offset=beta,
            mean=mean,
            variance=variance,
            epsilon=layer.epsilon,
            is_training=False,
            name=name,
        ).y
    batch = tf.nn.moments(inputs[0], list(range(len(inputs[0].shape) - 1)), name=f"{layer.scope}/moments")
    step = (1 - _DECAY) * tf.cast(builder.is_training, tf.float32)
    for moving, now in zip((mean, variance), batch, strict=True):
        update = moving.assign_sub((moving - now) * step, read_value=False)
        tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.UPDATE_OPS, update)
    means, variances = (
        tf.where(builder.is_training, now, moving) for now, moving in zip(batch, (mean, variance), strict=True)
    )
    normalised = tf.nn.batch_normalization(
        inputs[0], means, variances, beta, gamma, layer.epsilon, name=f"{layer.scope}/batchnorm"
    )
    return tf.identity(normalised, name)


@_build.register
def _(layer: MaxPool, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.nn.max_pool2d(
        inputs[0], layer.kernel, layer.stride, _padding(layer, builder.shapes(layer)), name=name
    )


@_build.register
def _(layer: AveragePool, name: str, inputs: list[Any], builder: Builder) -> Any:
    padding = _padding(layer, builder.shapes(layer))
    if isinstance(padding, str):
        return tf.nn.avg_pool2d(inputs[0], layer.kernel, layer.stride, padding, name=name)
    total, pixels = (
        tf.nn.avg_pool2d(tf.pad(image, padding), layer.kernel, layer.stride, "VALID")
        for image in (inputs[0], tf.ones_like(inputs[0][:1, :, :, :1]))
    )
    return tf.divide(total, pixels, name=name)


@_build.register
def _(layer: L2Normalize, name: str, inputs: list[Any], builder: Builder) -> Any:
    unit = tf.math.l2_normalize(inputs[0], axis=-1, epsilon=layer.floor**2, name=f"{layer.scope}/l2_normalize")
    return tf.multiply(unit, builder.variable(layer, layer.gamma), name=name)


@_build.register
def _(layer: Relu, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.nn.relu(inputs[0], name=name)


@_build.register
def _(layer: GlobalAveragePool, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.reduce_mean(inputs[0], (1, 2), keepdims=True, name=name)


@_build.register
def _(layer: Add, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.add(inputs[0], inputs[1], name=name)


@_build.register
def _(layer: Concat, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.concat(inputs, -1, name=name)


@_build.register
def _(layer: Squeeze, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.squeeze(inputs[0], (1, 2), name=name)


@_build.register
def _(layer: Reshape, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.reshape(inputs[0], (-1, *layer.sizes), name=name)


@_build.register
def _(layer: Softmax, name: str, inputs: list[Any], builder: Builder) -> Any:
    return tf.nn.softmax(inputs[0], name=name)


def _padding(layer: Window, shapes: tuple[Shape, ...]) -> str | list[list[int]]:
    """TensorFlow's word for the padding where it has one, else the padding itself."""
    top, left, bottom, right = pads = layer.pads(shapes[0])
    if not any(pads):
        return "VALID"
    if layer.padding == "same":
        return "SAME"
    return [[0, 0], [top, bottom], [left, right], [0, 0]]
