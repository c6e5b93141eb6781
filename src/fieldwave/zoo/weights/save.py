"""Writing a network's weights down."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from fieldwave.files import write_atomically
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.check import check_weights
from fieldwave.zoo.weights.safetensors_file import safetensors_module

__all__ = ["save_weights"]


def save_weights(path: str | PathLike[str], network: Network, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Write a ``.safetensors`` file that :func:`load_weights` reads; the same weights give the same bytes.

    Its metadata say which variant of the network they belong to.

    Raises:
        WeightsError: they are not those of ``network``.
        StorageError: the file cannot be written.
        MissingExtraError: safetensors is not installed.
    """
    check_weights(network, weights)
    arrays = {name: np.ascontiguousarray(weights[name]) for name in network.weight_shapes}
    notes = {"variant": network.variant}  # one only: the library writes several in any order
    write_atomically(path, safetensors_module("safetensors.numpy").save(arrays, metadata=notes))
