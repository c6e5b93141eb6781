"""Class names."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["imagenet_labels"]


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 classes of ImageNet-1k in the usual order, no background class; 289 is snow leopard."""
    text = files("fieldwave.zoo").joinpath("data/imagenet_classes.tsv").read_text(encoding="utf-8")
    return tuple(line.split("\t")[1] for line in text.splitlines())
