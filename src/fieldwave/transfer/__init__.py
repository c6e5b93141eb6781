"""Transfer learning: features of an int8 network, a head trained on them, both deployed as one package."""

from fieldwave.transfer.featurizer import FEATURES, Featurizer, featurizer, package_featurizer
from fieldwave.transfer.heads import Dense, Head, head_of
from fieldwave.transfer.pack import head_graph, pack

__all__ = [
    "FEATURES",
    "Dense",
    "Featurizer",
    "Head",
    "featurizer",
    "head_graph",
    "head_of",
    "pack",
    "package_featurizer",
]
