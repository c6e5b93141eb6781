"""From the tensors of a file to the weights of a network."""

from __future__ import annotations

import numpy as np

from fieldwave.errors import WeightsError
from fieldwave.zoo.weights.check import Weights, check_shapes, check_weights
from fieldwave.zoo.weights.fit import Fit
from fieldwave.zoo.weights.stored import TensorFile

__all__ = ["assembled", "check_fit"]


def assembled(file: TensorFile, fit: Fit) -> Weights:
    """The weights by name, in the network's order: renamed, turned, folded.

    Raises:
        WeightsError: a tensor is missing, has no place in the network, is of another shape or type, or holds
            values that are not finite; all but the last are found before a value is read.
    """
    check_fit(file, fit)
    weights: Weights = {}
    for name, rule in fit.rules.items():
        # A copy: what was read may still lie in the file, at an odd address.
        weights[name] = np.array(rule.make(file.read(fit.tensors[rule.source])), np.float32, order="C")
    check_weights(fit.network, weights, file.origin)
    return weights


def check_fit(file: TensorFile, fit: Fit) -> None:
    """Raise WeightsError unless the file has all that the network needs, in shape and type, and nothing else."""
    expected = {rule.source: rule.shape for rule in fit.rules.values()}
    shapes = {name: file.tensors[stored].shape for name, stored in fit.tensors.items()}
    check_shapes(expected, shapes, file.origin, fit.network.name)
    for name in expected:
        stored = file.tensors[fit.tensors[name]]
        if not stored.is_float:
            raise WeightsError(f"{file.origin}: {name!r} is {stored.dtype}, must be a floating-point type")
