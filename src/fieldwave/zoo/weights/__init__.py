"""Where a network's weights come from, and what their names mean."""

from __future__ import annotations

from fieldwave.zoo.weights.check import Weights, check_weights
from fieldwave.zoo.weights.formats import open_tensors
from fieldwave.zoo.weights.load import load, load_weights
from fieldwave.zoo.weights.save import save_weights
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile

__all__ = [
    "StoredTensor",
    "TensorFile",
    "Weights",
    "check_weights",
    "load",
    "load_weights",
    "open_tensors",
    "save_weights",
]
