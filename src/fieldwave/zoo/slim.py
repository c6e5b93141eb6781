"""Layers under the names that TensorFlow-slim gives them."""

from __future__ import annotations

from fieldwave.zoo.layers import BatchNorm, Conv, Layer, Padding, Relu

__all__ = ["convolution", "symmetric"]


def convolution(
    scope: str,
    source: str,
    *,
    kernel: int,
    channels: int,
    stride: int = 1,
    padding: Padding | None = None,
    relu: bool = True,
) -> tuple[Layer, ...]:
    """Slim's ``conv2d`` under ``scope``: a convolution without bias, its batch-norm and a ReLU.

    Without ``padding`` it is that of slim's ``conv2d_same``: (kernel - 1) / 2 on every side at any stride.
    """
    conv = Conv(
        f"{scope}/Conv2D",
        (source,),
        kernel=kernel,
        stride=stride,
        padding=symmetric(kernel) if padding is None else padding,
        channels=channels,
        weights=f"{scope}/weights",
    )
    norm = BatchNorm(f"{scope}/BatchNorm/FusedBatchNorm", (conv.output,), scope=f"{scope}/BatchNorm")
    return (conv, norm, Relu(f"{scope}/Relu", (norm.output,))) if relu else (conv, norm)


def symmetric(kernel: int) -> Padding:
    """The same padding on all four sides, which keeps the size at stride 1; ``kernel`` is odd."""
    side = (kernel - 1) // 2
    return side, side, side, side
