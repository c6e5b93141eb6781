"""Which tensors may be sent for an input: the network's own, pixels, image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import TensorError
from fieldwave.package import TensorSpec
from fieldwave.preprocess import Preprocessing

__all__ = ["Accepted", "accepted_for"]

_STRINGS = "O"  # the kind of numpy's dtype object, as which byte strings come from the wire


@dataclass(frozen=True)
class Accepted:
    """What may be sent for one input.

    Attributes:
        shapes: by dtype; object stands for strings, and None for the batch.
        batched: whether the first dimension is the batch.
        images: how to make the network's input of files (strings) and pixels (uint8); None if only the tensor
            itself is taken.
    """

    shapes: Mapping[np.dtype[Any], tuple[int | None, ...]]
    batched: bool
    images: Preprocessing | None

    @property
    def text(self) -> str:
        """Which dtypes and shapes there are, for people."""
        return " or ".join(_described(dtype, shape) for dtype, shape in self.shapes.items())

    def check(self, array: NDArray[Any], max_batch: int) -> None:
        """Refuse ``array`` if it has another dtype or shape, or a batch of more than ``max_batch``.

        Raises:
            TensorError: with what was got and what is expected.
        """
        expected = self.shapes.get(array.dtype)
        if expected is None:
            raise TensorError(f"dtype {_dtype_name(array.dtype)}; send {self.text}")
        fixed = int(self.batched)
        if array.ndim != len(expected) or array.shape[fixed:] != expected[fixed:]:
            raise TensorError(f"shape {list(array.shape)}; send {_described(array.dtype, expected)}")
        if self.batched and not 1 <= len(array) <= max_batch:
            raise TensorError(f"a batch of {len(array)}; send 1 to {max_batch}")


def accepted_for(spec: TensorSpec, preprocessing: Preprocessing | None) -> Accepted:
    """What may be sent for the input ``spec``: images too if ``preprocessing`` makes tensors of its shape."""
    shapes: dict[np.dtype[Any], tuple[int | None, ...]] = {np.dtype(spec.dtype): spec.shape}
    images = preprocessing
    if images is not None and (spec.dtype, *spec.shape[1:]) != (
        "float32",
        images.height,
        images.width,
        images.channels,
    ):
        images = None
    if images is not None:
        shapes |= {np.dtype(np.uint8): spec.shape, np.dtype(object): spec.shape[:1]}
    return Accepted(shapes, spec.shape[:1] == (None,), images)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return "string" if dtype.kind == _STRINGS else dtype.name


def _described(dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> str:
    sizes = ", ".join("N" if size is None else str(size) for size in shape)
    return f"{_dtype_name(dtype)} [{sizes}]" + (" (image files)" if dtype.kind == _STRINGS else "")
