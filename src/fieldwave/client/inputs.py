"""What callers hand over, as what is sent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fieldwave.errors import InputError, NotFoundError, StorageError, TensorError
from fieldwave.wire.dtypes import BY_ENUM, BY_NAME, STRING, WireType

__all__ = ["Image", "RawTensor", "batches", "image_bytes", "raw_tensor", "read_image"]

Image = bytes | bytearray | memoryview
RawTensor = tuple[bytes, Sequence[int], int | DTypeLike]


def image_bytes(data: Image) -> bytes:
    """An image file that a caller has in memory.

    Raises:
        InputError: it is no bytes.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise InputError(f"the image is a {type(data).__name__}; give the bytes of its file")
    return bytes(data)


def batches(images: Iterable[Image], size: int) -> Iterator[list[bytes]]:
    """Image files, so many at a time.

    Raises:
        InputError: there is none, one is no bytes, or the size is not at least 1.
    """
    if size < 1:
        raise InputError(f"batch is {size}; give at least 1")
    remaining = map(image_bytes, images)
    batch = list(islice(remaining, size))
    if not batch:
        raise InputError("there are no images; give at least one")
    while batch:
        yield batch
        batch = list(islice(remaining, size))


def read_image(path: str | os.PathLike[str]) -> bytes:
    """The bytes of the image file at ``path``.

    Raises:
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"no image {os.fspath(path)}; check the path") from None
    except OSError as error:
        raise StorageError(f"cannot read {os.fspath(path)}: {error.strerror or error}") from error


def raw_tensor(name: str, data: bytes, shape: Sequence[int], dtype: int | DTypeLike) -> NDArray[Any]:
    """The array in the bytes of the input ``name``, little-endian and row-major.

    Raises:
        TensorError: another number of bytes than the shape takes, or a dtype that does not travel.
    """
    wire_type = _wire_type(name, dtype)
    sizes = [int(size) for size in shape]
    if wire_type is STRING:
        if math.prod(sizes) != 1:
            raise TensorError(f"input {name!r}: a string tensor has one element here, but shape {sizes} does not")
        strings = np.empty(sizes, dtype=object)
        strings[...] = data
        return strings
    expected = math.prod(sizes) * wire_type.dtype.itemsize
    if min(sizes, default=0) < 0 or len(data) != expected:
        raise TensorError(
            f"input {name!r}: shape {sizes} of {wire_type.name} takes {expected} bytes, but {len(data)} are given"
        )
    return np.frombuffer(data, wire_type.dtype).reshape(sizes)


def _wire_type(name: str, dtype: int | DTypeLike) -> WireType:
    if isinstance(dtype, int):
        found = BY_ENUM.get(dtype)
    elif dtype == STRING.name:
        found = STRING
    else:
        try:
            found = BY_NAME.get(np.dtype(dtype).name)
        except TypeError:
            found = None
    if found is None:
        raise TensorError(f"input {name!r}: dtype {dtype!r} is not supported; use one of {', '.join(BY_NAME)}")
    return found
