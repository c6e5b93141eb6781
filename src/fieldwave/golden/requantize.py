"""From the exact int32 accumulator to uint8: the one rounding of a convolution.

IEEE-754 binary32 throughout, as ONNX Runtime's MlasRequantizeOutput: the accumulator is rounded to a float, that
is multiplied by a float, and the product is rounded half to even. Each of the three steps rounds once, and all
three count.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["multiplier", "requantize", "saturate"]


def multiplier(input_scale: ArrayLike, weight_scale: ArrayLike, output_scale: ArrayLike) -> NDArray[np.float32]:
    """``fl(fl(xs * ws[c]) / ys)``: the float32 factor of each output channel, in ONNX Runtime's order."""
    product = np.asarray(input_scale, np.float32) * np.asarray(weight_scale, np.float32)
    return np.asarray(product / np.asarray(output_scale, np.float32), np.float32)


def requantize(accumulator: NDArray[Any], factor: NDArray[np.float32], zero_point: int) -> NDArray[np.uint8]:
    """``sat(rne(fl(fl(acc) * m)) + yz)``.

    Args:
        accumulator: exact integers below 2**31 in magnitude, int32 or float64.
        factor: float32, broadcast against the accumulator.
        zero_point: of the output, 0 to 255.
    """
    scaled = accumulator.astype(np.float32)
    np.multiply(scaled, factor, out=scaled)
    np.rint(scaled, out=scaled)
    # Clipped before the zero point is added, as the kernels do: the sum stays exact for any finite product.
    np.clip(scaled, -zero_point, 255 - zero_point, out=scaled)
    scaled += zero_point
    return np.asarray(scaled, np.uint8)


def saturate(value: NDArray[Any]) -> NDArray[np.uint8]:
    """Round half to even and clip to 0..255."""
    return np.asarray(np.clip(np.rint(value), 0, 255), np.uint8)
