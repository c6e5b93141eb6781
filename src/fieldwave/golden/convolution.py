"""QLinearConv (ONNX), QGemm (com.microsoft) and QLinearMatMul (ONNX): exact int32 sums, one requantization.

The sums are float64 matrix products: every partial sum is an integer below 2**53, so they are exact whatever the
order of addition, and the fastest routine that numpy has computes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden.requantize import multiplier, requantize
from fieldwave.golden.window import Window

__all__ = ["accumulate", "qgemm", "qlinear_conv", "qlinear_matmul"]

Scale = np.float32 | NDArray[np.float32]


def qlinear_conv(
    x: NDArray[np.uint8],
    x_scale: Scale,
    x_zero: int,
    w: NDArray[np.int8],
    w_scale: Scale,
    y_scale: Scale,
    y_zero: int,
    bias: NDArray[np.int32] | None = None,
    *,
    window: Window | None = None,
    group: int = 1,
) -> NDArray[np.uint8]:
    """Two-dimensional convolution of [N, C, H, W] by symmetric [M, C/group, kH, kW] weights.

    Args:
        w_scale: one scale, or one for each of the M output channels.
        bias: int32 with scale ``x_scale * w_scale``.
        window: strides, pads and dilations; what is padded counts as the zero point.
    """
    sums = accumulate(x, x_zero, w, bias, window=window, group=group)
    factor = multiplier(x_scale, w_scale, y_scale)
    return requantize(sums, factor.reshape(-1, 1, 1), y_zero)


def accumulate(
    x: NDArray[np.uint8],
    x_zero: int,
    w: NDArray[np.int8],
    bias: NDArray[np.int32] | None = None,
    *,
    window: Window | None = None,
    group: int = 1,
) -> NDArray[np.float64]:
    """The accumulators of `qlinear_conv`: exact integers, [N, M, oH, oW]."""
    batch, channels = x.shape[:2]
    maps, share_in = w.shape[:2]
    taps = (window or Window(w.shape[2:])).views(x.astype(np.float64) - x_zero)
    height, width = taps.shape[2:4]
    weights = w.astype(np.float64)
    sums = np.empty((batch, maps, height, width))
    if group == channels == maps:
        np.einsum("nchwij,cij->nchw", taps, weights[:, 0], out=sums)
    else:
        share_out = maps // group
        for image in range(batch):
            for index in range(group):
                block = taps[image, index * share_in : (index + 1) * share_in]
                columns = block.transpose(0, 3, 4, 1, 2).reshape(-1, height * width)
                here = slice(index * share_out, (index + 1) * share_out)
                sums[image, here] = (weights[here].reshape(share_out, -1) @ columns).reshape(-1, height, width)
    if bias is not None:
        sums += bias.astype(np.float64).reshape(-1, 1, 1)
    return sums


def qgemm(
    a: NDArray[np.uint8],
    a_scale: Scale,
    a_zero: int,
    b: NDArray[np.int8],
    b_scale: Scale,
    bias: NDArray[np.int32] | None,
    y_scale: Scale,
    y_zero: int,
    *,
    transpose_b: bool = False,
) -> NDArray[np.uint8]:
    """Fully connected layer, com.microsoft QGemm with alpha 1 and a uint8 result: [N, K] by [K, M]."""
    weights: NDArray[Any] = b.T if transpose_b else b
    sums = (a.astype(np.float64) - a_zero) @ weights.astype(np.float64)
    if bias is not None:
        sums += bias.astype(np.float64)
    return requantize(sums, multiplier(a_scale, b_scale, y_scale), y_zero)


def qlinear_matmul(
    a: NDArray[np.uint8],
    a_scale: Scale,
    a_zero: int,
    b: NDArray[np.int8],
    b_scale: Scale,
    y_scale: Scale,
    y_zero: int,
) -> NDArray[np.uint8]:
    """ONNX QLinearMatMul by a symmetric right-hand side with one scale, or one for each column."""
    return qgemm(a, a_scale, a_zero, b, b_scale, None, y_scale, y_zero)
