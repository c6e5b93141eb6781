"""The layers that the zoo's networks are written in, free of any framework.

A layer is a frozen dataclass: what it reads, what it is called, its attributes and the names of its weights.
Emitters (ONNX today) turn the same description into a graph. Layout is channels-last, as TensorFlow's: a
shape is that of one image, ``(height, width, channels)``, or ``(channels,)`` once the spatial dimensions are
gone; kernels are ``[height, width, input channels / groups, output channels]``, dense weights ``[inputs,
outputs]``. A malformed layer raises :class:`fieldwave.errors.ModelError`, which names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Literal

from fieldwave.errors import ModelError

__all__ = [
    "Add",
    "AveragePool",
    "BatchNorm",
    "Concat",
    "Conv",
    "Dense",
    "GlobalAveragePool",
    "L2Normalize",
    "Layer",
    "MaxPool",
    "Padding",
    "Relu",
    "Reshape",
    "Shape",
    "Softmax",
    "Squeeze",
    "Window",
]

Shape = tuple[int, ...]
"""Of one image, without the batch: (height, width, channels), or (channels,)."""

Padding = Literal["same"] | tuple[int, int, int, int]
"""Rows and columns added at the (top, left, bottom, right); ``"same"`` is TensorFlow's SAME: the output has
ceil(size / stride) pixels, and an odd pixel of padding goes to the bottom and the right."""


@dataclass(frozen=True)
class Layer(ABC):
    """One operation: reads the tensors ``inputs`` and writes the tensor :attr:`output`."""

    name: str
    inputs: tuple[str, ...]

    @property
    def output(self) -> str:
        """The name of the tensor that the layer writes: its own with ``:0``, as in a TensorFlow graph."""
        return f"{self.name}:0"

    @abstractmethod
    def shape(self, *inputs: Shape) -> Shape:
        """The output's shape for these input shapes; ModelError if the layer cannot take them."""

    def weight_shapes(self, *inputs: Shape) -> dict[str, Shape]:
        """Name and shape of every weight, in the order in which they are used."""
        return {}

    def macs(self, *inputs: Shape) -> int:
        """Multiply-accumulates of one image, padding counted; 0 for what has no weights matrix."""
        return 0

    def _require(self, condition: bool, complaint: str) -> None:
        if not condition:
            raise ModelError(f"layer {self.name!r}: {complaint}")

    def _spatial(self, inputs: tuple[Shape, ...]) -> Shape:
        """The one input's shape, which must be (height, width, channels)."""
        shape = self._single(inputs)
        self._require(len(shape) == 3, f"needs (height, width, channels), gets {shape}")
        return shape

    def _single(self, inputs: tuple[Shape, ...]) -> Shape:
        self._require(len(inputs) == 1, f"takes one input, gets {len(inputs)}")
        return inputs[0]


@dataclass(frozen=True, kw_only=True)
class Window(Layer):
    """What slides a square window over the image: convolution and pooling."""

    kernel: int
    stride: int = 1
    padding: Padding = "same"

    def __post_init__(self) -> None:
        self._require(self.kernel >= 1, f"kernel is {self.kernel}, must be at least 1")
        self._require(self.stride >= 1, f"stride is {self.stride}, must be at least 1")
        if self.padding != "same":
            self._require(min(self.padding) >= 0, f"padding is {self.padding}, must not be negative")

    @property
    def extent(self) -> int:
        """Rows and columns from the window's first tap to its last."""
        return self.kernel

    def pads(self, image: Shape) -> tuple[int, int, int, int]:
        """Padding at the (top, left, bottom, right) of an image of this shape, ``"same"`` resolved."""
        if self.padding != "same":
            return self.padding
        (top, bottom), (left, right) = (self._same(size) for size in image[:2])
        return top, left, bottom, right

    def _same(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + self.extent - size, 0)
        return total // 2, total - total // 2

    def _area(self, image: Shape) -> tuple[int, int]:
        top, left, bottom, right = self.pads(image)
        height = (image[0] + top + bottom - self.extent) // self.stride + 1
        width = (image[1] + left + right - self.extent) // self.stride + 1
        self._require(
            min(height, width) >= 1,
            f"a window of {self.extent}x{self.extent} does not fit into {image[0]}x{image[1]} pixels "
            f"with padding {(top, left, bottom, right)}",
        )
        return height, width


@dataclass(frozen=True, kw_only=True)
class Conv(Window):
    """Convolution (cross-correlation, as all frameworks compute it), with a bias if ``biases`` names one."""

    channels: int
    weights: str
    biases: str = ""
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.channels >= 1, f"channels is {self.channels}, must be at least 1")
        self._require(self.dilation >= 1, f"dilation is {self.dilation}, must be at least 1")
        self._require(self.groups >= 1, f"groups is {self.groups}, must be at least 1")

    @property
    def extent(self) -> int:
        return (self.kernel - 1) * self.dilation + 1

    def shape(self, *inputs: Shape) -> Shape:
        image = self._spatial(inputs)
        self._require(
            image[2] % self.groups == 0 and self.channels % self.groups == 0,
            f"{image[2]} input and {self.channels} output channels do not divide into {self.groups} groups",
        )
        return (*self._area(image), self.channels)

    def weight_shapes(self, *inputs: Shape) -> dict[str, Shape]:
        channels = self._spatial(inputs)[2] // self.groups
        shapes: dict[str, Shape] = {self.weights: (self.kernel, self.kernel, channels, self.channels)}
        if self.biases:
            shapes[self.biases] = (self.channels,)
        return shapes

    def macs(self, *inputs: Shape) -> int:
        height, width, _ = self.shape(*inputs)
        return height * width * prod(self.weight_shapes(*inputs)[self.weights])


@dataclass(frozen=True)
class MaxPool(Window):
    """The maximum of each window; padding never wins."""

    def shape(self, *inputs: Shape) -> Shape:
        image = self._spatial(inputs)
        return (*self._area(image), image[2])


@dataclass(frozen=True)
class AveragePool(Window):
    """The mean of each window's pixels, padding not counted, as TensorFlow's avg_pool."""

    def shape(self, *inputs: Shape) -> Shape:
        image = self._spatial(inputs)
        return (*self._area(image), image[2])


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Per channel, ``gamma * (x - moving_mean) / sqrt(moving_variance + epsilon) + beta``.

    The four weights are called ``{scope}/gamma``, ``beta``, ``moving_mean`` and ``moving_variance``.
    """

    scope: str
    epsilon: float = 1e-5

    def shape(self, *inputs: Shape) -> Shape:
        return self._single(inputs)

    def weight_shapes(self, *inputs: Shape) -> dict[str, Shape]:
        channels = self._single(inputs)[-1]
        return dict.fromkeys(self.names, (channels,))

    @property
    def names(self) -> tuple[str, str, str, str]:
        """Names of gamma, beta, moving mean and moving variance."""
        scope = self.scope
        return f"{scope}/gamma", f"{scope}/beta", f"{scope}/moving_mean", f"{scope}/moving_variance"


@dataclass(frozen=True)
class Relu(Layer):
    """``max(x, 0)``."""

    def shape(self, *inputs: Shape) -> Shape:
        return self._single(inputs)


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """The mean over all pixels; the spatial dimensions stay, as 1 x 1."""

    def shape(self, *inputs: Shape) -> Shape:
        return (1, 1, self._spatial(inputs)[2])


@dataclass(frozen=True)
class Add(Layer):
    """The sum of two tensors of one shape; in a residual unit the shortcut comes first, the branch second."""

    def shape(self, *inputs: Shape) -> Shape:
        self._require(len(inputs) == 2, f"takes two inputs, gets {len(inputs)}")
        self._require(inputs[0] == inputs[1], f"cannot add {inputs[0]} and {inputs[1]}")
        return inputs[0]


@dataclass(frozen=True)
class Concat(Layer):
    """The inputs' channels, one after the other."""

    def shape(self, *inputs: Shape) -> Shape:
        self._require(len(inputs) >= 2, f"takes two or more inputs, gets {len(inputs)}")
        areas = {shape[:-1] for shape in inputs}
        self._require(len(areas) == 1, f"cannot join {' and '.join(map(str, inputs))}")
        return (*inputs[0][:-1], sum(shape[-1] for shape in inputs))


@dataclass(frozen=True)
class Squeeze(Layer):
    """Drops the spatial dimensions of a 1 x 1 image: (1, 1, channels) becomes (channels,)."""

    def shape(self, *inputs: Shape) -> Shape:
        image = self._spatial(inputs)
        self._require(image[:2] == (1, 1), f"needs (1, 1, channels), gets {image}")
        return (image[2],)


@dataclass(frozen=True)
class Reshape(Layer):
    """The same values, the last axis running fastest, under the shape ``sizes`` of one image."""

    sizes: Shape

    def shape(self, *inputs: Shape) -> Shape:
        shape = self._single(inputs)
        self._require(prod(shape) == prod(self.sizes), f"cannot make {self.sizes} of {shape}")
        return self.sizes


@dataclass(frozen=True)
class L2Normalize(Layer):
    """Each pixel's channels divided by their Euclidean length, then scaled: ``gamma * x / max(|x|, floor)``.

    The weight, one for each channel, is called ``{scope}/gamma``. ``floor`` is the square root of the epsilon of
    TensorFlow's ``l2_normalize`` (Liu, Rabinovich, Berg: ParseNet, 2015).
    """

    scope: str
    floor: float = 1e-6

    def shape(self, *inputs: Shape) -> Shape:
        return self._spatial(inputs)

    def weight_shapes(self, *inputs: Shape) -> dict[str, Shape]:
        return {self.gamma: (self._spatial(inputs)[2],)}

    @property
    def gamma(self) -> str:
        """Name of the weight."""
        return f"{self.scope}/gamma"


@dataclass(frozen=True)
class Dense(Layer):
    """``x @ weights``, plus a bias if ``biases`` names one."""

    channels: int
    weights: str
    biases: str = ""

    def __post_init__(self) -> None:
        self._require(self.channels >= 1, f"channels is {self.channels}, must be at least 1")

    def shape(self, *inputs: Shape) -> Shape:
        shape = self._single(inputs)
        self._require(len(shape) == 1, f"needs (channels,), gets {shape}")
        return (self.channels,)

    def weight_shapes(self, *inputs: Shape) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {self.weights: (self._single(inputs)[0], self.channels)}
        if self.biases:
            shapes[self.biases] = (self.channels,)
        return shapes

    def macs(self, *inputs: Shape) -> int:
        return prod(self.weight_shapes(*inputs)[self.weights])


@dataclass(frozen=True)
class Softmax(Layer):
    """``exp(x) / sum(exp(x))`` over the channels."""

    def shape(self, *inputs: Shape) -> Shape:
        return self._single(inputs)
