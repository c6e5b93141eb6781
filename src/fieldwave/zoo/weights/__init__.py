"""Where a network's weights come from, and what their names mean."""

from __future__ import annotations

from fieldwave.zoo.weights.assemble import check_fit
from fieldwave.zoo.weights.cache import Pulled, cache_folder, cached, pull
from fieldwave.zoo.weights.check import Weights, check_weights
from fieldwave.zoo.weights.fit import Fit, best_fit
from fieldwave.zoo.weights.formats import open_tensors
from fieldwave.zoo.weights.load import find_weights, load, load_weights
from fieldwave.zoo.weights.publishers import PublishedSet, published, published_names
from fieldwave.zoo.weights.save import save_weights
from fieldwave.zoo.weights.stored import StoredTensor, TensorFile

__all__ = [
    "Fit",
    "PublishedSet",
    "Pulled",
    "StoredTensor",
    "TensorFile",
    "Weights",
    "best_fit",
    "cache_folder",
    "cached",
    "check_fit",
    "check_weights",
    "find_weights",
    "load",
    "load_weights",
    "open_tensors",
    "published",
    "published_names",
    "pull",
    "save_weights",
]
