"""In which order the axes of a kernel stand in a file; here it is always [height, width, inputs, outputs]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from fieldwave.zoo.layers import Shape

__all__ = ["ONNX", "TENSORFLOW", "TORCH", "Layout"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """How a framework stores kernels.

    Attributes:
        kernel: the shape in the file of a kernel of this shape here.
        matrix: the shape in the file of a dense layer's weights; one that reads a whole image, flattened, is a
            kernel here, as large as the image.
        turned: the values of either, and the shape here, to the kernel or matrix here.
    """

    kernel: Callable[[Shape], Shape]
    matrix: Callable[[Shape], Shape]
    turned: Callable[[Array, Shape], Array]


def _from_torch(values: Array, shape: Shape) -> Array:
    if len(shape) == 2:
        return values.T
    height, width, inputs, outputs = shape
    # A matrix's rows run over channels first, then over the image: [outputs, inputs, height, width] flattened.
    return values.reshape(outputs, inputs, height, width).transpose(2, 3, 1, 0)


TENSORFLOW = Layout(
    kernel=lambda shape: shape,
    matrix=lambda shape: (prod(shape[:-1]), shape[-1]),
    turned=lambda values, shape: values.reshape(shape),
)

TORCH = Layout(
    kernel=lambda shape: (shape[3], shape[2], *shape[:2]),
    matrix=lambda shape: (shape[-1], prod(shape[:-1])),
    turned=_from_torch,
)

ONNX = Layout(
    kernel=TORCH.kernel,
    matrix=TENSORFLOW.matrix,
    turned=lambda values, shape: values if len(shape) == 2 else _from_torch(values, shape),
)
"""As :func:`fieldwave.zoo.to_onnx` writes it."""
