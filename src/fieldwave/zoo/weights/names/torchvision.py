"""Torchvision's names (https://github.com/pytorch/vision/tree/main/torchvision/models)."""

from __future__ import annotations

import re

from fieldwave.zoo.weights.names.family import Family, Place
from fieldwave.zoo.weights.names.layout import TORCH

__all__ = ["IGNORED", "STD", "TORCHVISION", "leaf", "tensor"]

STD = (0.229, 0.224, 0.225)
"""Standard deviations of ImageNet's channels R, G, B, of pixels from 0 to 1."""

IGNORED = re.compile(r"(^|\.)num_batches_tracked$")

_LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Where the convolutions stand among the ReLUs and pools of `features`.
_VGG = {
    f"conv{stage}/conv{stage}_{index}": place
    for stage, places in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), start=1)
    for index, place in enumerate(places, start=1)
}


def tensor(network: str, weight: str) -> str:
    """Torchvision's name for a weight of the zoo."""
    place = Place.of(weight)
    module = _MODULES[network](place)
    return f"{module}.{leaf(place)}"


def leaf(place: Place) -> str:
    """PyTorch's name for a layer's weight."""
    return _LEAVES[place.weight]


def _resnet(place: Place) -> str:
    if place.layer == "logits":
        return "fc"
    kind = "bn" if place.norm else "conv"
    if place.layer == "conv1":
        return f"{kind}1"
    block, unit, name = _unit(place.layer)
    member = f"downsample.{int(place.norm)}" if name == "shortcut" else f"{kind}{name[-1]}"
    return f"layer{block}.{unit - 1}.{member}"


def _densenet(place: Place) -> str:
    if place.layer == "logits":
        return "classifier"
    kind = "norm" if place.norm else "conv"
    parts = place.layer.split("/")
    if parts[0].startswith("dense_block"):
        return f"features.denseblock{parts[0][-1]}.denselayer{parts[1][10:]}.{kind}{parts[2][1]}"
    if parts[0].startswith("transition_block"):
        return f"features.transition{parts[0][-1]}.{kind}"
    return f"features.{kind}5" if parts[0] == "final_block" else f"features.{kind}0"


def _vgg(place: Place) -> str:
    if place.layer in _VGG:
        return f"features.{_VGG[place.layer]}"
    return {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}[place.layer]


def _unit(layer: str) -> tuple[int, int, str]:
    """``block1/unit_2/bottleneck_v1/conv3`` as (1, 2, conv3)."""
    block, unit, _, name = layer.split("/")
    return int(block.removeprefix("block")), int(unit.removeprefix("unit_")), name


_MODULES = {"densenet121": _densenet, "resnet152": _resnet, "resnet50": _resnet, "vgg16": _vgg}

TORCHVISION = Family(
    name="torchvision",
    variant="torchvision",
    layout=TORCH,
    tensor=tensor,
    networks=tuple(_MODULES),
    dense=re.compile(r"^(fc|classifier(\.\d)?)\.weight$"),
    std=lambda network: STD,
    # densenet121-a639ec97.pth is older than its module: norm.1 for norm1.
    aliases=((re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),),
    ignored=IGNORED,
)
