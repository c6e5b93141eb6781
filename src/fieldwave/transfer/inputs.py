"""Images in whichever form the caller has them, as the input of a network."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldwave.conversion.images import image_paths
from fieldwave.errors import ImageError, ModelError, StorageError
from fieldwave.preprocess import Preprocessing, preprocess

__all__ = ["Images", "batches"]

Images = NDArray[np.float32] | Sequence[str | os.PathLike[str] | bytes] | str | os.PathLike[str]
"""Network inputs [n, height, width, channels], or JPEG and PNG images as paths or bytes, or a folder of them."""


def batches(images: Images, spec: Preprocessing | None, size: int) -> Iterator[NDArray[np.float32]]:
    """The network's inputs, at most ``size`` at a time, so that no more than these are in memory.

    Raises:
        ModelError: the images have to be preprocessed, and the network does not say how.
        ImageError: a file is no image.
        NotFoundError: no such folder.
        CalibrationError: it holds no image.
        StorageError: a file cannot be read.
    """
    if isinstance(images, np.ndarray):
        for start in range(0, len(images), size):
            yield np.asarray(images[start : start + size], np.float32)
        return
    if isinstance(images, str | os.PathLike):
        images = image_paths(Path(images))
    if spec is None:
        raise ModelError("the network does not say how images become its input; give the input itself, an array")
    for start in range(0, len(images), size):
        yield np.stack([_input(image, spec) for image in images[start : start + size]])


def _input(image: Any, spec: Preprocessing) -> NDArray[np.float32]:
    if isinstance(image, bytes):
        return preprocess(image, spec)
    try:
        return preprocess(Path(image).read_bytes(), spec)
    except ImageError as error:
        raise ImageError(f"{image}: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot read {image}: {error.strerror or error}") from error
