"""How each publisher of weights turns a photograph into its networks' input."""

from __future__ import annotations

from typing import Literal

from fieldwave.preprocess import Preprocessing

__all__ = ["Style", "photograph"]

Style = Literal["slim", "torchvision", "caffe", "densenet-slim"]
"""``slim``: RGB less the mean of ImageNet. ``caffe``: the same in the order BGR, as Keras takes it for ResNet v1
and VGG. ``torchvision``: RGB less torchvision's mean; its division by the standard deviations is one for each
channel and belongs in the weights of the first convolution, where importing them puts it. ``densenet-slim``:
``slim`` times 0.017."""

_SLIM_MEAN = (123.68, 116.779, 103.939)
_TORCHVISION_MEAN = (123.675, 116.28, 103.53)  # 255 * (0.485, 0.456, 0.406)


def photograph(style: Style, size: int) -> Preprocessing:
    """The centre of a photograph, ``size`` x ``size``, its shortest side brought to 256 for 224."""
    return Preprocessing(
        height=size,
        width=size,
        order="BGR" if style == "caffe" else "RGB",
        shortest_side=size * 256 // 224,
        mean=_TORCHVISION_MEAN if style == "torchvision" else _SLIM_MEAN,
        scale=0.017 if style == "densenet-slim" else 1.0,
    )
