"""DenseNet-121 (Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, 2017).

Its tensors and weights have the names of the slim implementation whose tensors the retired service knew
(``densenet121/final_block/global_avg_pool/Mean``). Each layer reads all maps before it in its block, so that a
batch-norm stands before each convolution, behind a concatenation, and cannot be folded into the convolutions
that made the maps.
"""

from __future__ import annotations

from dataclasses import dataclass

from fieldwave.zoo.images import Style, photograph
from fieldwave.zoo.labels import imagenet_labels
from fieldwave.zoo.layers import (
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Padding,
    Relu,
)
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import VALID, classifier, predictions, symmetric

__all__ = ["KERAS", "SLIM", "TORCHVISION", "Variant", "densenet121"]


@dataclass(frozen=True)
class Variant:
    """What a publisher does in his own way: padding of conv1 and of the pool behind it, epsilon, images."""

    name: str
    conv1: Padding
    pool1: Padding
    epsilon: float
    images: Style


SLIM = Variant("slim", "same", "same", 1.1e-5, "densenet-slim")
"""The slim implementation's, and the retired service's."""

TORCHVISION = Variant("torchvision", symmetric(7), symmetric(3), 1e-5, "torchvision")

KERAS = Variant("keras", symmetric(7), symmetric(3), 1.001e-5, "torchvision")
"""keras.applications' DenseNet121: RGB with mean and standard deviations, unlike Keras' ResNet and VGG."""


def densenet121(
    variant: Variant = SLIM,
    *,
    size: int = 224,
    growth: int = 32,
    blocks: tuple[int, ...] = (6, 12, 24, 16),
    labels: tuple[str, ...] = (),
) -> Network:
    """DenseNet-121 for RGB photographs, 224x224, and the 1000 classes of ImageNet-1k, no background class.

    Args:
        variant: whose DenseNet-121.
        size: height and width of the input in pixels.
        growth: maps that each layer adds; the first convolution makes twice as many.
        blocks: layers in each dense block.
        labels: other classes.
    """
    scope = "densenet121"
    images = Tensor("Placeholder:0", ("images",), (size, size, 3))
    labels = labels or imagenet_labels()
    featurizer = _featurizer(scope, images.name, growth, blocks, variant)
    features = featurizer[-1].output
    head = classifier(scope, features, len(labels))
    return Network(
        name="densenet121",
        input=images,
        # The last name is malformed; it is the one that the retired SDK gave its users.
        outputs=(predictions(head[-1].output, len(labels), f"{scope}/predictions/Softmax:{scope}"),),
        layers=(*featurizer, *head),
        features=features,
        preprocessing=photograph(variant.images, size),
        labels=labels,
        variant=variant.name,
    )


def _featurizer(
    scope: str, images: str, growth: int, blocks: tuple[int, ...], variant: Variant
) -> tuple[Layer, ...]:
    channels = 2 * growth
    layers: list[Layer] = [
        Conv(
            f"{scope}/conv1/Conv2D",
            (images,),
            kernel=7,
            stride=2,
            padding=variant.conv1,
            channels=channels,
            weights=f"{scope}/conv1/weights",
        )
    ]
    layers += _normalised(scope, layers[-1].output, variant)
    layers.append(
        MaxPool(f"{scope}/MaxPool2D/MaxPool", (layers[-1].output,), kernel=3, stride=2, padding=variant.pool1)
    )
    for block, count in enumerate(blocks, start=1):
        for unit in range(1, count + 1):
            layers += _unit(f"{scope}/dense_block{block}/conv_block{unit}", layers[-1].output, growth, variant)
            channels += growth
        if block < len(blocks):
            channels //= 2
            transition = f"{scope}/transition_block{block}"
            layers += _convolution(f"{transition}/blk", layers[-1].output, 1, channels, variant)
            layers.append(
                AveragePool(
                    f"{transition}/AvgPool2D/AvgPool", (layers[-1].output,), kernel=2, stride=2, padding=VALID
                )
            )
    layers += _normalised(f"{scope}/final_block", layers[-1].output, variant)
    layers.append(GlobalAveragePool(f"{scope}/final_block/global_avg_pool/Mean", (layers[-1].output,)))
    return tuple(layers)


def _unit(scope: str, source: str, growth: int, variant: Variant) -> tuple[Layer, ...]:
    """A 1x1 and a 3x3 convolution, whose ``growth`` maps join those that came in."""
    narrow = _convolution(f"{scope}/x1", source, 1, 4 * growth, variant)
    wide = _convolution(f"{scope}/x2", narrow[-1].output, 3, growth, variant)
    return *narrow, *wide, Concat(f"{scope}/concat", (source, wide[-1].output))


def _convolution(scope: str, source: str, kernel: int, channels: int, variant: Variant) -> tuple[Layer, ...]:
    before = _normalised(scope, source, variant)
    conv = Conv(
        f"{scope}/Conv/Conv2D",
        (before[-1].output,),
        kernel=kernel,
        padding=symmetric(kernel),
        channels=channels,
        weights=f"{scope}/Conv/weights",
    )
    return *before, conv


def _normalised(scope: str, source: str, variant: Variant) -> tuple[Layer, ...]:
    norm = BatchNorm(
        f"{scope}/BatchNorm/FusedBatchNorm", (source,), scope=f"{scope}/BatchNorm", epsilon=variant.epsilon
    )
    return norm, Relu(f"{scope}/Relu", (norm.output,))
