"""The networks of the zoo, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fieldwave.errors import NotFoundError
from fieldwave.zoo.digits import digits
from fieldwave.zoo.network import Network
from fieldwave.zoo.resnet import resnet50

__all__ = ["names", "network"]

_NETWORKS: dict[str, Callable[[], Network]] = {"digits": digits, "resnet50": resnet50}


def names() -> tuple[str, ...]:
    """The names that :func:`network` takes, sorted."""
    return tuple(sorted(_NETWORKS))


@cache
def network(name: str) -> Network:
    """The network of that name.

    Raises:
        NotFoundError: the zoo has none of that name; the message lists those it has.
    """
    if name not in _NETWORKS:
        raise NotFoundError(f"the zoo has no network {name!r}: it has {', '.join(names())}")
    return _NETWORKS[name]()
