"""ResNet v1 with bottleneck units (He et al. 2015), under TensorFlow-slim's names.

"ResNet-50" is several networks under one name. They differ in where they halve the resolution and in how they
pad, so that weights trained for one give nonsense in another; :class:`Variant` says which one is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fieldwave.zoo.images import Style, photograph
from fieldwave.zoo.labels import imagenet_labels
from fieldwave.zoo.layers import Add, GlobalAveragePool, Layer, MaxPool, Padding, Relu
from fieldwave.zoo.network import Network, Tensor
from fieldwave.zoo.slim import classifier, convolution, predictions, symmetric

__all__ = ["KERAS", "SLIM", "TORCHVISION", "Variant", "resnet50", "resnet152"]


@dataclass(frozen=True)
class Variant:
    """Where a ResNet strides, how it pads there, and what else its publisher does in his own way.

    ``strided_unit``: which unit of a stage halves the resolution. ``last`` strides in stages 1 to 3, so that
    each stage hands the halved image to the next; ``first`` strides in stages 2 to 4. ``strided_conv``: which
    convolution of that unit does it, the 1x1 ``conv1`` or the 3x3 ``conv2``. ``conv_padding``,
    ``pool_padding``: of the strided convolutions and of pool1; ``symmetric`` is (kernel - 1) / 2 on every
    side, ``same`` TensorFlow's SAME. ``biases``: whether the convolutions before a batch-norm have one.
    """

    strided_unit: Literal["first", "last"]
    strided_conv: Literal["conv1", "conv2"]
    conv_padding: Literal["symmetric", "same"]
    pool_padding: Literal["symmetric", "same"]
    name: str = "slim"
    images: Style = "slim"
    biases: bool = False
    epsilon: float = 1e-5


SLIM = Variant(strided_unit="last", strided_conv="conv2", conv_padding="symmetric", pool_padding="same")
"""TensorFlow-slim's resnet_v1_50, and the retired service's."""

TORCHVISION = Variant(
    strided_unit="first",
    strided_conv="conv2",
    conv_padding="symmetric",
    pool_padding="symmetric",
    name="torchvision",
    images="torchvision",
)
"""Torchvision's, also called v1.5."""

KERAS = Variant(
    strided_unit="first",
    strided_conv="conv1",
    conv_padding="symmetric",
    pool_padding="symmetric",
    name="keras",
    images="caffe",
    biases=True,
    epsilon=1.001e-5,
)
"""keras.applications' ResNet50 and ResNet152 (not V2), which stride as the paper's."""


def resnet50(
    variant: Variant = SLIM, *, size: int = 224, width: int = 64, labels: tuple[str, ...] = ()
) -> Network:
    """ResNet-50 for RGB photographs, 224x224, and the 1000 classes of ImageNet-1k, no background class.

    Args:
        variant: whose ResNet-50.
        size: height and width of the input in pixels.
        width: channels of the first convolution, to which all others are in proportion.
        labels: other classes.
    """
    return _resnet("resnet50", "resnet_v1_50", (3, 4, 6, 3), variant, size, width, labels)


def resnet152(
    variant: Variant = SLIM, *, size: int = 224, width: int = 64, labels: tuple[str, ...] = ()
) -> Network:
    """ResNet-152; the arguments are those of :func:`resnet50`."""
    return _resnet("resnet152", "resnet_v1_152", (3, 8, 36, 3), variant, size, width, labels)


def _resnet(
    name: str,
    scope: str,
    units: tuple[int, int, int, int],
    variant: Variant,
    size: int,
    width: int,
    labels: tuple[str, ...],
) -> Network:
    images = Tensor("Placeholder:0", ("images",), (size, size, 3))
    labels = labels or imagenet_labels()
    featurizer = _featurizer(scope, images.name, units, variant, width)
    features = featurizer[-1].output
    head = classifier(scope, features, len(labels))
    return Network(
        name=name,
        input=images,
        outputs=(predictions(head[-1].output, len(labels)),),
        layers=(*featurizer, *head),
        features=features,
        preprocessing=photograph(variant.images, size),
        labels=labels,
        variant=variant.name,
    )


def _featurizer(
    scope: str, images: str, units: tuple[int, ...], variant: Variant, first: int
) -> tuple[Layer, ...]:
    layers = [
        *convolution(
            f"{scope}/conv1",
            images,
            kernel=7,
            channels=first,
            stride=2,
            padding=_padding(7, variant.conv_padding),
            biases=variant.biases,
            epsilon=variant.epsilon,
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
    channels = first
    for block, count in enumerate(units, start=1):
        width = first * 2 ** (block - 1)
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

    def conv(
        name: str, reads: str, kernel: int, outputs: int, stride: int = 1, relu: bool = True
    ) -> tuple[Layer, ...]:
        return convolution(
            f"{scope}/{name}",
            reads,
            kernel=kernel,
            channels=outputs,
            stride=stride,
            padding=symmetric(kernel) if stride == 1 else _padding(kernel, variant.conv_padding),
            relu=relu,
            biases=variant.biases,
            epsilon=variant.epsilon,
        )

    shortcut: tuple[Layer, ...] = ()
    if channels != 4 * width:
        shortcut = conv("shortcut", source, 1, 4 * width, stride, relu=False)
    elif stride > 1:
        shortcut = (MaxPool(f"{scope}/shortcut/MaxPool", (source,), kernel=1, stride=stride),)
    strides = {variant.strided_conv: stride}
    conv1 = conv("conv1", source, 1, width, strides.get("conv1", 1))
    conv2 = conv("conv2", conv1[-1].output, 3, width, strides.get("conv2", 1))
    conv3 = conv("conv3", conv2[-1].output, 1, 4 * width, relu=False)
    add = Add(f"{scope}/add", (shortcut[-1].output if shortcut else source, conv3[-1].output))
    return (*shortcut, *conv1, *conv2, *conv3, add, Relu(f"{scope}/Relu", (add.output,)))


def _padding(kernel: int, kind: Literal["symmetric", "same"]) -> Padding:
    return symmetric(kernel) if kind == "symmetric" else "same"
