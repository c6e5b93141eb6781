"""MaxPool (ONNX), QLinearAveragePool and QLinearGlobalAveragePool (com.microsoft) on uint8 [N, C, H, W]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden.requantize import requantize, saturate
from fieldwave.golden.window import Window

__all__ = ["max_pool", "qlinear_average_pool", "qlinear_global_average_pool"]


def max_pool(x: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """The largest byte of each window; padding never wins, since it counts as 0, the smallest byte."""
    return np.asarray(window.views(x).max((4, 5)))


def qlinear_average_pool(
    x: NDArray[np.uint8],
    x_scale: np.float32,
    x_zero: int,
    y_scale: np.float32,
    y_zero: int,
    window: Window,
    *,
    count_include_pad: bool = False,
) -> NDArray[np.uint8]:
    """``sat(rne(sum(x - xz) / n * xs/ys + yz))``, exact for power-of-two scales.

    ``n`` is the number of valid elements of the window, or all its taps with ``count_include_pad``: then padding
    counts, as the zero point, and so does what ceil mode adds (as ONNX Runtime's kernel has it).
    """
    sums = window.views(x.astype(np.int64) - x_zero).sum((4, 5))
    if count_include_pad:
        count = np.asarray(window.kernel[0] * window.kernel[1])
    else:
        count = window.views(np.ones((1, 1, *x.shape[2:]), np.int64)).sum((4, 5))
    return saturate(sums / count * (float(x_scale) / float(y_scale)) + y_zero)


def qlinear_global_average_pool(
    x: NDArray[np.uint8], x_scale: np.float32, x_zero: int, y_scale: np.float32, y_zero: int
) -> NDArray[np.uint8]:
    """``sat(rne(fl(fl(sum(x) - n*xz) * fl(xs / fl(ys*n)))) + yz)`` over each whole map, [N, C, 1, 1]."""
    count = x.shape[2] * x.shape[3]
    sums = x.sum((2, 3), dtype=np.int64, keepdims=True) - count * x_zero
    factor = np.float32(x_scale) / (np.float32(y_scale) * np.float32(count))
    return requantize(sums, np.asarray(factor, np.float32), y_zero)
