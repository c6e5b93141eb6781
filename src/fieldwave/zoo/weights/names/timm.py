"""timm's names (https://github.com/huggingface/pytorch-image-models), where they are not torchvision's.

Its ResNet and DenseNet are called as torchvision's; its VGG has convolutions in place of the matrices.
"""

from __future__ import annotations

import re

from fieldwave.zoo.weights.names import torchvision
from fieldwave.zoo.weights.names.family import Family, Place
from fieldwave.zoo.weights.names.layout import TORCH

__all__ = ["TIMM"]

_HEAD = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}


def _tensor(network: str, weight: str) -> str:
    place = Place.of(weight)
    if place.layer in _HEAD:
        return f"{_HEAD[place.layer]}.{torchvision.leaf(place)}"
    return torchvision.tensor(network, weight)


TIMM = Family(
    name="timm",
    variant="torchvision",
    layout=TORCH,
    tensor=_tensor,
    networks=("vgg16",),
    dense=re.compile(r"^head\.fc\.weight$"),
    std=lambda network: torchvision.STD,
    ignored=torchvision.IGNORED,
)
