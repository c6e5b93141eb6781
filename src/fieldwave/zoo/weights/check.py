"""Whether a set of weights is that of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from fieldwave.errors import WeightsError
from fieldwave.zoo.layers import Shape
from fieldwave.zoo.network import Network
from fieldwave.zoo.weights.stored import shape_text

__all__ = ["Weights", "check_shapes", "check_weights", "first_of"]

Weights = dict[str, NDArray[np.float32]]


def check_weights(
    network: Network, weights: Mapping[str, NDArray[np.float32]], origin: str = "the set of weights"
) -> None:
    """Raise WeightsError unless these are exactly the network's, by name and shape, float32 and finite.

    ``origin`` says in the message where they come from.
    """
    check_shapes(network, {name: array.shape for name, array in weights.items()}, origin)
    for name in network.weight_shapes:
        array = weights[name]
        if array.dtype != np.float32:
            raise WeightsError(f"{origin}: {name!r} is {array.dtype}, must be float32; convert it")
        finite = np.isfinite(array)
        if not finite.all():
            raise WeightsError(
                f"{origin}: {name!r} holds {array.size - int(finite.sum())} values that are NaN or infinite"
            )


def check_shapes(network: Network, shapes: Mapping[str, Shape], origin: str) -> None:
    """Raise WeightsError unless these are exactly the network's names and shapes."""
    expected = network.weight_shapes
    missing = [name for name in expected if name not in shapes]
    unexpected = sorted(name for name in shapes if name not in expected)
    if missing or unexpected:
        complaints = []
        if missing:
            complaints.append(f"it lacks {first_of(missing, expected)}")
        if unexpected:
            complaints.append(f"it has {first_of(unexpected, shapes)}")
        raise WeightsError(f"{origin} is not for {network.name}: {'; '.join(complaints)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise WeightsError(
                f"{origin} is not for {network.name}: {name!r} is {shape_text(shapes[name])}, "
                f"must be {shape_text(shape)}"
            )


def first_of(names: Iterable[str], shapes: Mapping[str, Shape]) -> str:
    """The first name with its shape, and how many more there are."""
    first, *others = names
    more = f" and {len(others)} more" if others else ""
    return f"{first!r} {shape_text(shapes[first])}{more}"
