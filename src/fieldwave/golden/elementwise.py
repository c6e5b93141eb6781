"""QLinearAdd (com.microsoft), QuantizeLinear and DequantizeLinear (ONNX), and 256-entry tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.golden.requantize import saturate

__all__ = ["dequantize_linear", "lookup", "qlinear_add", "quantize_linear"]


def qlinear_add(
    a: NDArray[np.uint8],
    a_scale: np.float32,
    a_zero: int,
    b: NDArray[np.uint8],
    b_scale: np.float32,
    b_zero: int,
    y_scale: np.float32,
    y_zero: int,
) -> NDArray[np.uint8]:
    """``sat(rne((a-az)*as/ys + (b-bz)*bs/ys + yz))``; the zero point is added before the one rounding.

    Exact for power-of-two scales: then every term is a multiple of one power of two and float64 holds the sum.
    """
    left = (a.astype(np.float64) - a_zero) * (float(a_scale) / float(y_scale))
    right = (b.astype(np.float64) - b_zero) * (float(b_scale) / float(y_scale))
    return saturate(left + right + y_zero)


def quantize_linear(x: NDArray[np.float32], scale: np.float32, zero: int) -> NDArray[np.uint8]:
    """``sat(rne(x / s) + z)``: a float32 division, never a product with a reciprocal; NaN becomes 0, the
    smallest byte, as in ONNX Runtime's kernels."""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint(x / np.float32(scale)) + np.float32(zero)
    return np.asarray(np.where(steps > 0, np.minimum(steps, np.float32(255)), np.float32(0)), np.uint8)


def dequantize_linear(x: NDArray[Any], scale: np.float32, zero: int) -> NDArray[np.float32]:
    """``(x - z) * s`` in float32."""
    return np.asarray((x.astype(np.int32) - zero).astype(np.float32) * np.float32(scale), np.float32)


def lookup(table: NDArray[np.uint8], x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any other function of one byte: ``table[x]``, 256 entries computed once by the compiler (ONNX Gather)."""
    return table[x]
