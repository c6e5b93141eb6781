"""ResNet v1 with bottleneck units (He et al. 2015), under TensorFlow-slim's names.

"ResNet-50" is several networks under one name. They differ in where they halve the resolution and in how they
pad, so that weights trained for one give nonsense in another; :class:`Variant` says which one is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fieldwave.preprocess import Preprocessing
from fieldwave.zoo.labels import imagenet_labels
from fieldwave.zoo.layers import Add, Conv, GlobalAveragePool, Layer, MaxPool, Padding, Relu, Softmax, Squeeze
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import convolution, symmetric

__all__ = ["SLIM", "TORCHVISION", "Variant", "resnet50"]


@dataclass(frozen=True)
class Variant:
    """Where a ResNet strides, and how it pads there.

    ``strided_unit``: which unit of a stage halves the resolution. ``last`` strides in stages 1 to 3, so that
    each stage hands the halved image to the next; ``first`` strides in stages 2 to 4. ``strided_conv``: which
    convolution of that unit does it, the 1x1 ``conv1`` or the 3x3 ``conv2``. ``conv_padding``,
    ``pool_padding``: of the strided convolutions and of pool1; ``symmetric`` is (kernel - 1) / 2 on every
    side, ``same`` TensorFlow's SAME.
    """

    strided_unit: Literal["first", "last"]
    strided_conv: Literal["conv1", "conv2"]
    conv_padding: Literal["symmetric", "same"]
    pool_padding: Literal["symmetric", "same"]


SLIM = Variant(strided_unit="last", strided_conv="conv2", conv_padding="symmetric", pool_padding="same")
"""TensorFlow-slim's resnet_v1_50, and the retired service's."""

TORCHVISION = Variant(
    strided_unit="first", strided_conv="conv2", conv_padding="symmetric", pool_padding="symmetric"
)
"""Torchvision's, also called v1.5."""


def resnet50(variant: Variant = SLIM) -> Network:
    """ResNet-50 for 224x224 RGB photographs and the 1000 classes of ImageNet-1k, no background class."""
    return _resnet("resnet50", "resnet_v1_50", (3, 4, 6, 3), variant)


def _resnet(name: str, scope: str, units: tuple[int, int, int, int], variant: Variant) -> Network:
    images = Tensor("Placeholder:0", ("images",), (224, 224, 3))
    featurizer = _featurizer(scope, images.name, units, variant)
    features = featurizer[-1].output
    classifier = _classifier(scope, features, 1000)
    predictions = f"{scope}/predictions/Softmax:0"
    return Network(
        name=name,
        input=images,
        outputs=(
            Tensor(classifier[-1].output, (f"classifier_1/{predictions}", predictions, "output_alias"), (1000,)),
        ),
        layers=(*featurizer, *classifier),
        features=features,
        preprocessing=Preprocessing(height=224, width=224),
        labels=imagenet_labels(),
    )


def _featurizer(scope: str, images: str, units: tuple[int, ...], variant: Variant) -> tuple[Layer, ...]:
    layers = [
        *convolution(
            f"{scope}/conv1",
            images,
            kernel=7,
            channels=64,
            stride=2,
            padding=_padding(7, variant.conv_padding),
        )
    ]
    layers.append(
        MaxPool(
            f"{scope}/pool1/MaxPool",
            (layers[-1].output,),
            kernel=3,
            stride=2,
            padding=_padding(3, variant.pool_padding),
        )
    )
    channels = 64
    for block, count in enumerate(units, start=1):
        width = 64 * 2 ** (block - 1)
        for unit in range(1, count + 1):
            strided = (
                (unit == count and block < 4) if variant.strided_unit == "last" else (unit == 1 and block > 1)
            )
            layers += _bottleneck(
                f"{scope}/block{block}/unit_{unit}/bottleneck_v1",
                layers[-1].output,
                channels=channels,
                width=width,
                stride=2 if strided else 1,
                variant=variant,
            )
            channels = 4 * width
    layers.append(GlobalAveragePool(f"{scope}/pool5", (layers[-1].output,)))
    return tuple(layers)


def _bottleneck(
    scope: str, source: str, *, channels: int, width: int, stride: int, variant: Variant
) -> tuple[Layer, ...]:
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; ``channels`` come in, ``4 * width`` go out."""
    shortcut: tuple[Layer, ...] = ()
    if channels != 4 * width:
        shortcut = convolution(
            f"{scope}/shortcut", source, kernel=1, channels=4 * width, stride=stride, relu=False
        )
    elif stride > 1:
        subsample = MaxPool(f"{scope}/shortcut/MaxPool", (source,), kernel=1, stride=stride)
        shortcut = (subsample,)
    strides = {variant.strided_conv: stride}
    stride1, stride2 = strides.get("conv1", 1), strides.get("conv2", 1)
    padding = symmetric(3) if stride2 == 1 else _padding(3, variant.conv_padding)
    conv1 = convolution(f"{scope}/conv1", source, kernel=1, channels=width, stride=stride1)
    conv2 = convolution(
        f"{scope}/conv2", conv1[-1].output, kernel=3, channels=width, stride=stride2, padding=padding
    )
    conv3 = convolution(f"{scope}/conv3", conv2[-1].output, kernel=1, channels=4 * width, relu=False)
    add = Add(f"{scope}/add", (shortcut[-1].output if shortcut else source, conv3[-1].output))
    return (*shortcut, *conv1, *conv2, *conv3, add, Relu(f"{scope}/Relu", (add.output,)))


def _classifier(scope: str, features: str, classes: int) -> tuple[Layer, ...]:
    """The default head. The retired service imported it from a graph of its own, hence the prefix."""
    logits = Conv(
        f"classifier/{scope}/logits/BiasAdd",
        (features,),
        kernel=1,
        channels=classes,
        weights=f"{scope}/logits/weights",
        biases=f"{scope}/logits/biases",
    )
    squeezed = Squeeze(f"classifier/{scope}/SpatialSqueeze", (logits.output,))
    return logits, squeezed, Softmax(f"classifier/{scope}/predictions/Softmax", (squeezed.output,))


def _padding(kernel: int, kind: Literal["symmetric", "same"]) -> Padding:
    return symmetric(kernel) if kind == "symmetric" else "same"
