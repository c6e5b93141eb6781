"""VGG-16 (Simonyan, Zisserman: Very Deep Convolutional Networks, 2015), under TensorFlow-slim's names.

The first fully connected layer, fc6, is a 7x7 convolution without padding, as in slim. Torchvision and Keras
flatten the 7x7 image instead, each in its own order; turned to ``[7, 7, 512, 4096]`` their weights compute the
same.
"""

from __future__ import annotations

from typing import Literal

from fieldwave.zoo.images import Style, photograph
from fieldwave.zoo.labels import imagenet_labels
from fieldwave.zoo.layers import Layer, MaxPool, Padding, Squeeze
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import VALID, biased, predictions

__all__ = ["Variant", "convolutions", "vgg16"]

Variant = Literal["slim", "torchvision", "keras"]

_STAGES = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
"""Of each stage, how many convolutions, and how many times the first one's channels."""


def vgg16(
    variant: Variant = "slim",
    *,
    size: int = 224,
    width: int = 64,
    hidden: int = 4096,
    labels: tuple[str, ...] = (),
) -> Network:
    """VGG-16 for RGB photographs, 224x224, and the 1000 classes of ImageNet-1k, no background class.

    The output are the logits: the retired service left the softmax to its clients.

    Args:
        variant: whose VGG-16; they differ in the images.
        size: height and width of the input in pixels, a multiple of 32.
        width: channels of the first convolution, to which all others are in proportion.
        hidden: channels of the two fully connected layers.
        labels: other classes.
    """
    scope = "vgg_16"
    images = Tensor("Placeholder:0", ("images",), (size, size, 3))
    labels = labels or imagenet_labels()
    body = convolutions(scope, images.name, width, pools=(VALID,) * 5)
    fc6 = biased(f"{scope}/fc6", body[-1].output, kernel=size // 32, channels=hidden, padding=VALID)
    fc7 = biased(f"{scope}/fc7", fc6[-1].output, kernel=1, channels=hidden)
    fc8 = biased(f"{scope}/fc8", fc7[-1].output, kernel=1, channels=len(labels), relu=False, prefix="classifier/")
    squeezed = Squeeze(f"classifier/{scope}/fc8/squeezed", (fc8[-1].output,))
    styles: dict[Variant, Style] = {"slim": "slim", "torchvision": "torchvision", "keras": "caffe"}
    return Network(
        name="vgg16",
        input=images,
        outputs=(predictions(squeezed.output, len(labels)),),
        layers=(*body, *fc6, *fc7, *fc8, squeezed),
        features=fc7[-1].output,
        preprocessing=photograph(styles[variant], size),
        labels=labels,
        variant=variant,
    )


def convolutions(scope: str, images: str, width: int, pools: tuple[Padding, ...]) -> tuple[Layer, ...]:
    """The five stages of 3x3 convolutions; behind each for which ``pools`` gives a padding, a 2x2 max pool."""
    layers: list[Layer] = []
    source = images
    for stage, (count, factor) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            layers += biased(f"{scope}/conv{stage}/conv{stage}_{index}", source, kernel=3, channels=width * factor)
            source = layers[-1].output
        if stage <= len(pools):
            layers.append(
                MaxPool(f"{scope}/pool{stage}/MaxPool", (source,), kernel=2, stride=2, padding=pools[stage - 1])
            )
            source = layers[-1].output
    return tuple(layers)
