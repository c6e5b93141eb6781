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
    """Raise WeightsError unless these are exactly the network's, by name and shape, float32, finite and sane.

    ``origin`` says in the message where they come from.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    check_shapes(network.weight_shapes, shapes, origin, network.name)
    for name in network.weight_shapes:
        array = weights[name]
        if array.dtype != np.float32:
            raise WeightsError(f"{origin}: {name!r} is {array.dtype}, must be float32; convert it")
        finite = np.isfinite(array)
        if not finite.all():
            raise WeightsError(
                f"{origin}: {name!r} holds {array.size - int(finite.sum())} values that are NaN or infinite"
            )
        if name.endswith("/moving_variance") and array.min(initial=0) < 0:
            raise WeightsError(
                f"{origin}: {name!r} holds {int((array < 0).sum())} negative values: it is no variance"
            )


def check_shapes(expected: Mapping[str, Shape], shapes: Mapping[str, Shape], origin: str, target: str) -> None:
    """Raise WeightsError unless ``shapes`` are exactly those that ``target``, a network, is expected to have."""
    missing = [name for name in expected if name not in shapes]
    unexpected = sorted(name for name in shapes if name not in expected)
    if missing or unexpected:
        complaints = []
        if missing:
            complaints.append(f"it lacks {first_of(missing, expected)}")
        if unexpected:
            complaints.append(f"it has {first_of(unexpected, shapes)}")
        raise WeightsError(f"{origin} is not for {target}: {'; '.join(complaints)}")
    for name, shape in expected.items():
        if shapes[name] != shape:
            found = shape_text(shapes[name])
            raise WeightsError(f"{origin} is not for {target}: {name!r} is {found}, must be {shape_text(shape)}")


def first_of(names: Iterable[str], shapes: Mapping[str, Shape]) -> str:
    """The first name with its shape, and how many more there are."""
    first, *others = names
    more = f" and {len(others)} more" if others else ""
    return f"{first!r} {shape_text(shapes[first])}{more}"
