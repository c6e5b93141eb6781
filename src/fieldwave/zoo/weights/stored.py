"""Tensors that lie in a file and are read one by one, when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import WeightsError
from fieldwave.zoo.layers import Shape

__all__ = ["Format", "StoredTensor", "TensorFile", "bfloat16", "shape_text"]

Format = Literal["torch", "safetensors", "tensorflow", "savedmodel", "keras", "onnx"]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        shape: as the file says it; checked against the bytes that are there.
        dtype: numpy's name of it, or ``bfloat16``.
        load: reads the values, in the file's own layout; bfloat16 comes as float32.
    """

    shape: Shape
    dtype: str
    load: Callable[[], NDArray[Any]]

    @property
    def is_float(self) -> bool:
        """Whether it can be a weight: a floating-point number of any width."""
        return self.dtype in ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file, by name, in the file's order.

    Attributes:
        path: of the file, or of the folder of a SavedModel.
        format: which kind of file it is.
        tensors: unread.
        notes: what the file says of itself, such as the network and the variant that our own files name.
    """

    path: Path
    format: Format
    tensors: Mapping[str, StoredTensor]
    notes: Mapping[str, str]

    @property
    def origin(self) -> str:
        """What messages call the file."""
        return self.path.name

    def read(self, name: str) -> NDArray[np.float32]:
        """A floating-point tensor as float32.

        Raises:
            WeightsError: it holds values that are NaN, infinite, or beyond float32.
        """
        values = self.tensors[name].load()
        with np.errstate(over="ignore"):
            array = np.asarray(values, np.float32)
        finite = np.isfinite(array)
        if not finite.all():
            count = array.size - int(finite.sum())
            raise WeightsError(f"{self.origin}: {name!r} holds {count} values that are NaN or infinite")
        return array


def bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The values of bfloat16 numbers: the upper halves of float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def shape_text(shape: Shape) -> str:
    """A shape for messages: ``7x7x3x64``."""
    return "x".join(map(str, shape)) or "scalar"
