"""Class names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fieldwave.errors import NotFoundError

__all__ = ["imagenet_labels", "labels"]

_LISTS = {"imagenet": "imagenet_classes.tsv", "voc": "voc_classes.txt"}


@cache
def labels(name: str) -> tuple[str, ...]:
    """A list of classes by its name.

    ``imagenet``: the 1000 of ImageNet-1k in the usual order, no background class; 289 is snow leopard. ``voc``:
    the background and the 20 of Pascal VOC.

    Raises:
        NotFoundError: no such list; the message names those there are.
    """
    if name not in _LISTS:
        raise NotFoundError(f"there is no list of classes {name!r}: there are {', '.join(sorted(_LISTS))}")
    text = files("fieldwave.zoo").joinpath(f"data/{_LISTS[name]}").read_text(encoding="utf-8")
    return tuple(line.split("\t")[-1] for line in text.splitlines())


def imagenet_labels() -> tuple[str, ...]:
    """The 1000 classes of ImageNet-1k, as ``labels("imagenet")``."""
    return labels("imagenet")
