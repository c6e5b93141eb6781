"""The names of ``keras.applications`` (https://github.com/keras-team/keras/tree/master/keras/src/applications).

ResNet and VGG take images as Caffe did, BGR less the mean, and need nothing here; DenseNet divides by the
standard deviations.
"""

from __future__ import annotations

import re

from fieldwave.zoo.weights.names.family import Family, Place
from fieldwave.zoo.weights.names.layout import TENSORFLOW
from fieldwave.zoo.weights.names.torchvision import STD

__all__ = ["KERAS"]

_LEAVES = {"weights": "kernel", "biases": "bias"}


def _tensor(network: str, weight: str) -> str:
    place = Place.of(weight)
    return f"{_LAYERS[network](place)}/{_LEAVES.get(place.weight, place.weight)}"


def _resnet(place: Place) -> str:
    if place.layer == "logits":
        return "predictions"
    kind = "bn" if place.norm else "conv"
    if place.layer == "conv1":
        return f"conv1_{kind}"
    block, unit, _, name = place.layer.split("/")
    number = "0" if name == "shortcut" else name[-1]
    return f"conv{int(block[-1]) + 1}_block{unit.removeprefix('unit_')}_{number}_{kind}"


def _densenet(place: Place) -> str:
    if place.layer == "logits":
        return "predictions"
    parts = place.layer.split("/")
    if parts[0].startswith("dense_block"):
        # There a layer counts its batch-norms from 0 and its convolutions from 1.
        number = int(parts[2][1]) - (1 if place.norm else 0)
        unit = parts[1].removeprefix("conv_block")
        return f"conv{int(parts[0][-1]) + 1}_block{unit}_{number}_{'bn' if place.norm else 'conv'}"
    if parts[0].startswith("transition_block"):
        return f"pool{int(parts[0][-1]) + 1}_{'bn' if place.norm else 'conv'}"
    if parts[0] == "final_block":
        return "bn"
    return "conv1_bn" if place.norm else "conv1_conv"


def _vgg(place: Place) -> str:
    name = place.layer.split("/")[-1]
    if name.startswith("conv"):
        stage, index = name.removeprefix("conv").split("_")
        return f"block{stage}_conv{index}"
    return {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}[name]


_LAYERS = {"densenet121": _densenet, "resnet152": _resnet, "resnet50": _resnet, "vgg16": _vgg}

KERAS = Family(
    name="keras",
    variant="keras",
    layout=TENSORFLOW,
    tensor=_tensor,
    networks=tuple(_LAYERS),
    dense=re.compile(r"^(predictions|fc1|fc2)/kernel$"),
    std=lambda network: STD if network == "densenet121" else (),
    # DenseNet's first layers were called conv1/conv and conv1/bn once, and the heads probs and fc1000.
    aliases=(
        (re.compile(r":0$"), ""),
        (re.compile(r"^conv1/(conv|bn)/"), r"conv1_\1/"),
        (re.compile(r"^(probs|fc1000)/"), "predictions/"),
    ),
    ignored=re.compile(
        r"^(adam|adamw|sgd|rmsprop|adagrad|optimizer|training|loss|compile_metrics|seed_generator\w*|dropout\w*)/"
        r"|^(iteration|learning_rate|save_counter|global_step)$|(^|/)(iteration|learning_rate)$",
        re.IGNORECASE,
    ),
)
