"""Layers under the names that TensorFlow-slim gives them."""

from __future__ import annotations

from fieldwave.zoo.layers import BatchNorm, Conv, Layer, Padding, Relu, Softmax, Squeeze
from fieldwave.zoo.network import Tensor

__all__ = ["VALID", "biased", "classifier", "convolution", "predictions", "symmetric"]

VALID: Padding = (0, 0, 0, 0)
"""No padding at all."""


def convolution(
    scope: str,
    source: str,
    *,
    kernel: int,
    channels: int,
    stride: int = 1,
    padding: Padding | None = None,
    relu: bool = True,
    biases: bool = False,
    epsilon: float = 1e-5,
) -> tuple[Layer, ...]:
    """Slim's ``conv2d`` under ``scope``: a convolution, its batch-norm and a ReLU.

    Without ``padding`` it is that of slim's ``conv2d_same``: (kernel - 1) / 2 on every side at any stride.
    ``biases`` gives the convolution a bias all the same, as Keras does.
    """
    conv = Conv(
        f"{scope}/BiasAdd" if biases else f"{scope}/Conv2D",
        (source,),
        kernel=kernel,
        stride=stride,
        padding=symmetric(kernel) if padding is None else padding,
        channels=channels,
        weights=f"{scope}/weights",
        biases=f"{scope}/biases" if biases else "",
    )
    norm = BatchNorm(
        f"{scope}/BatchNorm/FusedBatchNorm", (conv.output,), scope=f"{scope}/BatchNorm", epsilon=epsilon
    )
    return (conv, norm, Relu(f"{scope}/Relu", (norm.output,))) if relu else (conv, norm)


def biased(
    scope: str,
    source: str,
    *,
    kernel: int,
    channels: int,
    stride: int = 1,
    padding: Padding = "same",
    dilation: int = 1,
    relu: bool = True,
    prefix: str = "",
) -> tuple[Layer, ...]:
    """Slim's ``conv2d`` where there is no batch-norm: a convolution with a bias, and a ReLU.

    ``prefix`` stands before the names of the tensors, not of the weights.
    """
    conv = Conv(
        f"{prefix}{scope}/BiasAdd",
        (source,),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        channels=channels,
        weights=f"{scope}/weights",
        biases=f"{scope}/biases",
    )
    return (conv, Relu(f"{prefix}{scope}/Relu", (conv.output,))) if relu else (conv,)


def classifier(scope: str, features: str, classes: int) -> tuple[Layer, ...]:
    """The default head: 1x1 logits and their softmax.

    The retired service imported it from a graph of its own, hence the prefix of its tensors.
    """
    logits = biased(
        f"{scope}/logits", features, kernel=1, channels=classes, padding=VALID, relu=False, prefix="classifier/"
    )
    squeezed = Squeeze(f"classifier/{scope}/SpatialSqueeze", (logits[-1].output,))
    return *logits, squeezed, Softmax(f"classifier/{scope}/predictions/Softmax", (squeezed.output,))


def predictions(tensor: str, classes: int, *more: str) -> Tensor:
    """A classifier's output under all the names by which the retired service and its clients called it."""
    name = tensor.removeprefix("classifier/")
    return Tensor(tensor, (f"classifier_1/{name}", name, *more, "output_alias"), (classes,))


def symmetric(kernel: int) -> Padding:
    """The same padding on all four sides, which keeps the size at stride 1; ``kernel`` is odd."""
    side = (kernel - 1) // 2
    return side, side, side, side
