"""The names of Hugging Face's transformers (``ResNetForImageClassification``, as ``microsoft/resnet-50``)."""

from __future__ import annotations

import re

from fieldwave.zoo.weights.names import torchvision
from fieldwave.zoo.weights.names.family import Family, Place
from fieldwave.zoo.weights.names.layout import TORCH

__all__ = ["TRANSFORMERS"]


def _tensor(network: str, weight: str) -> str:
    place = Place.of(weight)
    return f"{_module(place)}.{torchvision.leaf(place)}"


def _module(place: Place) -> str:
    if place.layer == "logits":
        return "classifier.1"
    kind = "normalization" if place.norm else "convolution"
    if place.layer == "conv1":
        return f"resnet.embedder.embedder.{kind}"
    block, unit, _, name = place.layer.split("/")
    member = "shortcut" if name == "shortcut" else f"layer.{int(name[-1]) - 1}"
    stage, layer = int(block.removeprefix("block")) - 1, int(unit.removeprefix("unit_")) - 1
    return f"resnet.encoder.stages.{stage}.layers.{layer}.{member}.{kind}"


TRANSFORMERS = Family(
    name="transformers",
    variant="torchvision",
    layout=TORCH,
    tensor=_tensor,
    networks=("resnet50", "resnet152"),
    dense=re.compile(r"^classifier\.1\.weight$"),
    std=lambda network: torchvision.STD,
    ignored=torchvision.IGNORED,
)
