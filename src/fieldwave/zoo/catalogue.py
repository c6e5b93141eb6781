"""The networks of the zoo, by name and variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

from fieldwave.errors import NotFoundError
from fieldwave.zoo import densenet, resnet
from fieldwave.zoo.digits import digits
from fieldwave.zoo.network import Network
from fieldwave.zoo.ssd import ssd_vgg
from fieldwave.zoo.vgg import vgg16

__all__ = ["names", "network", "variants"]

_RESNETS = (resnet.SLIM, resnet.TORCHVISION, resnet.KERAS)
_DENSENETS = (densenet.SLIM, densenet.TORCHVISION, densenet.KERAS)
_NETWORKS: dict[str, dict[str, Callable[..., Network]]] = {
    "densenet121": {variant.name: partial(densenet.densenet121, variant) for variant in _DENSENETS},
    "digits": {"slim": digits},
    "resnet152": {variant.name: partial(resnet.resnet152, variant) for variant in _RESNETS},
    "resnet50": {variant.name: partial(resnet.resnet50, variant) for variant in _RESNETS},
    "ssd_vgg": {"slim": ssd_vgg},
    "vgg16": {variant: partial(vgg16, variant) for variant in ("slim", "torchvision", "keras")},
}


def names() -> tuple[str, ...]:
    """The names that :func:`network` takes, sorted."""
    return tuple(sorted(_NETWORKS))


def variants(name: str) -> tuple[str, ...]:
    """The variants of that network, the default first.

    Raises:
        NotFoundError: the zoo has none of that name; the message lists those it has.
    """
    if name not in _NETWORKS:
        raise NotFoundError(f"the zoo has no network {name!r}: it has {', '.join(names())}")
    return tuple(_NETWORKS[name])


def network(name: str, variant: str = "slim", *, labels: Sequence[str] = ()) -> Network:
    """The network of that name.

    Args:
        name: one of :func:`names`.
        variant: one of :func:`variants`: whose network is meant. ``slim``, the retired service's, is the
            default; ``torchvision`` and ``keras`` are the networks for which these publish weights. They stride,
            pad and normalise differently, so that weights of one give nonsense in another.
        labels: classes of your own, for a network that you train; for detection the first is the background.

    Raises:
        NotFoundError: the zoo has no such network or variant; the message lists those it has.
    """
    if variant not in variants(name):
        raise NotFoundError(f"the zoo has no variant {variant!r} of {name}: it has {', '.join(_NETWORKS[name])}")
    return _made(name, variant, tuple(labels))


@cache
def _made(name: str, variant: str, labels: tuple[str, ...]) -> Network:
    return _NETWORKS[name][variant](labels=labels)
